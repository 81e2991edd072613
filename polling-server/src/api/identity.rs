//! Who a request comes from.

use poem::Request;
use poem::http::{HeaderMap, HeaderValue, header};
use polling_core::model::{PollId, VoteId, VoterIdentity, VoterKey};
use polling_core::secret::OwnerToken;
use uuid::Uuid;

use super::access::IdentitySource;
use super::problem::{FieldError, Problem};
use super::problem_kind::ProblemKind;
use crate::service::Service;

/// The cookie that names a browser.
const COOKIE: &str = "polling_voter";
/// How long a browser keeps it: one year, in seconds.
const COOKIE_AGE_SECONDS: u32 = 365 * 24 * 60 * 60;

/// The voter behind a request.
#[derive(Debug)]
pub(crate) struct Voter {
    /// The pseudonym in the poll.
    pub(crate) key: VoterKey,
    /// The cookie to give to a browser that has none yet.
    pub(crate) set_cookie: Option<HeaderValue>,
}

/// Who the request says its voter is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Declared<'a> {
    /// `voter_id` in the body.
    InBody(Option<&'a str>),
    /// The query parameter `voter_id`.
    InQuery(Option<&'a str>),
}

impl<'a> Declared<'a> {
    const fn name(self) -> Option<&'a str> {
        match self {
            Self::InBody(name) | Self::InQuery(name) => name,
        }
    }

    fn error(self, detail: &'static str) -> Problem {
        Problem::validation(vec![match self {
            Self::InBody(_) => FieldError::at("/voter_id", detail),
            Self::InQuery(_) => FieldError::of_parameter("voter_id", detail),
        }])
    }
}

/// What a request says about itself, besides its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The headers.
    pub(crate) headers: &'a HeaderMap,
}

impl<'a> Caller<'a> {
    /// What `request` says.
    pub(crate) fn of(request: &'a Request) -> Self {
        Self { headers: request.headers() }
    }

    /// The token in `Authorization: Bearer`.
    pub(crate) fn bearer(self) -> Option<&'a str> {
        let value = self.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// The browser that the cookie names; `None` without one that we made.
    fn browser(self, service: &Service) -> Option<Uuid> {
        let values = self.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookies = values.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        cookies.filter(|(name, _)| *name == COOKIE).find_map(|(_, value)| service.secret.open_cookie(value))
    }

    /// The subject of the bearer token: `None` without one, a problem for one that is not valid.
    fn subject(self, service: &Service) -> Option<Result<String, Problem>> {
        let token = self.bearer().filter(|token| !OwnerToken::looks_like(token))?;
        let subject = service.access.tokens.as_ref().and_then(|verifier| verifier.subject(token, service.clock.now()));
        Some(subject.ok_or_else(|| Problem::with_detail(ProblemKind::Unauthorized, "The token is not valid.")))
    }

    /// Finds the voter, in the configured order.
    ///
    /// A browser without a cookie gets one, made from the `vote_id` when the client brings one: should the answer be lost, its
    /// second attempt comes from the same voter and is not counted again.
    pub(crate) fn voter(
        self,
        service: &Service,
        poll: PollId,
        declared: Declared<'_>,
        vote_id: Option<VoteId>,
    ) -> Result<Voter, Problem> {
        let known = self.known_voter(service, poll, declared)?;
        if let Some(key) = known {
            return Ok(Voter { key, set_cookie: None });
        }
        if service.access.recognises(IdentitySource::Cookie) {
            let browser = new_browser(service, poll, vote_id);
            let key = service.secret.voter_key(poll, VoterIdentity::Cookie(browser));
            return Ok(Voter { key, set_cookie: Self::cookie_of(service, browser) });
        }
        Err(missing_identity(service, declared))
    }

    /// Finds the voter without making a new one.
    pub(crate) fn known_voter(
        self,
        service: &Service,
        poll: PollId,
        declared: Declared<'_>,
    ) -> Result<Option<VoterKey>, Problem> {
        if declared.name().is_some() && !service.access.recognises(IdentitySource::Declared) {
            return Err(declared.error("is not taken by this server: voters are recognised by their token or cookie"));
        }
        for source in &service.access.identities {
            match source {
                IdentitySource::Token => {
                    if let Some(subject) = self.subject(service) {
                        return Ok(Some(service.secret.voter_key(poll, VoterIdentity::Token(&subject?))));
                    }
                }
                IdentitySource::Declared => {
                    if let Some(name) = declared.name() {
                        return Ok(Some(service.secret.voter_key(poll, VoterIdentity::Declared(name))));
                    }
                }
                IdentitySource::Cookie => {
                    if let Some(browser) = self.browser(service) {
                        return Ok(Some(service.secret.voter_key(poll, VoterIdentity::Cookie(browser))));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The voters that a viewer of results can prove to be: by token and by cookie, never by declaration.
    pub(crate) fn proven_voters(self, service: &Service, poll: PollId) -> Vec<VoterKey> {
        let mut keys = Vec::new();
        if service.access.recognises(IdentitySource::Token)
            && let Some(Ok(subject)) = self.subject(service)
        {
            keys.push(service.secret.voter_key(poll, VoterIdentity::Token(&subject)));
        }
        if service.access.recognises(IdentitySource::Cookie)
            && let Some(browser) = self.browser(service)
        {
            keys.push(service.secret.voter_key(poll, VoterIdentity::Cookie(browser)));
        }
        keys
    }

    fn cookie_of(service: &Service, browser: Uuid) -> Option<HeaderValue> {
        let value = service.secret.seal_cookie(browser);
        let secure = if service.access.secure_cookies { "; Secure" } else { "" };
        let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={COOKIE_AGE_SECONDS}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&cookie).ok()
    }
}

/// What to answer to somebody who wants to retract a vote and cannot have one: nobody recognised, so nobody has voted.
pub(crate) fn problem_of_stranger(service: &Service, declared: Declared<'_>) -> Problem {
    if service.access.recognises(IdentitySource::Cookie) {
        Problem::new(ProblemKind::NoVote)
    } else {
        missing_identity(service, declared)
    }
}

/// What to answer when a voter is needed and there is none.
fn missing_identity(service: &Service, declared: Declared<'_>) -> Problem {
    if service.access.recognises(IdentitySource::Token) {
        Problem::new(ProblemKind::Unauthorized)
    } else {
        declared.error("is required")
    }
}

/// Names a browser. What is made from a vote id goes through the secret, so that the stored id does not tell the identity.
fn new_browser(service: &Service, poll: PollId, vote_id: Option<VoteId>) -> Uuid {
    vote_id.map_or_else(Uuid::new_v4, |vote_id| {
        let name = format!("the browser that sent the vote {vote_id}");
        Uuid::from_bytes(service.secret.voter_key(poll, VoterIdentity::Token(&name)).0)
    })
}
