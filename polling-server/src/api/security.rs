//! How the document describes credentials. Handlers read them from the headers, because one header may carry several kinds.

use std::marker::PhantomData;

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

/// The header that may carry an API key.
pub(crate) const API_KEY_HEADER: &str = "X-API-Key";

const OWNER: &str = "ownerToken";
const API_KEY: &str = "apiKey";
const TOKEN: &str = "voterToken";
const COOKIE: &str = "voterCookie";

fn register_all(registry: &mut Registry) {
    let bearer = |description, format| MetaSecurityScheme {
        ty: "http",
        description: Some(description),
        name: None,
        key_in: None,
        scheme: Some("bearer"),
        bearer_format: Some(format),
        flows: None,
        openid_connect_url: None,
    };
    let owner = bearer("The `owner_token` of the poll, which the answer to its creation shows once.", "owner token");
    let token = bearer("A JSON Web Token whose subject is the voter, where the server is configured to take them.", "JWT");
    let in_header = |description, key_in, name| MetaSecurityScheme {
        ty: "apiKey",
        key_in: Some(key_in),
        name: Some(name),
        scheme: None,
        bearer_format: None,
        ..bearer(description, "")
    };
    let api_key = "An API key, where the server is configured to want one; `Authorization: Bearer` with the key works, too.";
    registry.create_security_scheme(OWNER, owner);
    registry.create_security_scheme(TOKEN, token);
    registry.create_security_scheme(API_KEY, in_header(api_key, "header", API_KEY_HEADER));
    let cookie = "The signed cookie that a browser is given with its first vote.";
    registry.create_security_scheme(COOKIE, in_header(cookie, "cookie", "polling_voter"));
}

/// The credentials that an operation looks at.
pub(crate) trait CredentialSet: Send + Sync + 'static {
    /// The names of their schemes; any one of them does.
    const SCHEMES: &'static [&'static str];
    /// Whether the operation works without any.
    const OPTIONAL: bool = true;
}

/// Describes the credentials of an operation in the document, and does nothing else.
pub(crate) struct Documented<S>(PhantomData<fn() -> S>);

impl<'a, S: CredentialSet> ApiExtractor<'a> for Documented<S> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register_all(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        S::SCHEMES.to_vec()
    }

    fn has_security_fallback() -> bool {
        S::OPTIONAL
    }

    async fn from_request(
        _request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(PhantomData))
    }
}

/// The owner of the poll.
pub(crate) struct OwnerOnly;

impl CredentialSet for OwnerOnly {
    const SCHEMES: &'static [&'static str] = &[OWNER];
    const OPTIONAL: bool = false;
}

/// Whoever may create polls: everybody, unless API keys are configured.
pub(crate) struct MayCreate;

impl CredentialSet for MayCreate {
    const SCHEMES: &'static [&'static str] = &[API_KEY];
}

/// A voter, by token or cookie; a declared one needs neither.
pub(crate) struct AnyVoter;

impl CredentialSet for AnyVoter {
    const SCHEMES: &'static [&'static str] = &[TOKEN, COOKIE];
}

/// A viewer of results, who may see more with credentials.
pub(crate) struct AnyViewer;

impl CredentialSet for AnyViewer {
    const SCHEMES: &'static [&'static str] = &[OWNER, TOKEN, COOKIE];
}

/// Everybody.
pub(crate) struct Anybody;

impl CredentialSet for Anybody {
    const SCHEMES: &'static [&'static str] = &[];
}
