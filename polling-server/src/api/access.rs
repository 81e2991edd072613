//! Who may do what: how voters are recognised, and who may create polls.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation};
use polling_core::clock::Timestamp;
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

use super::rate_limits::Rates;

/// Bytes of a shared secret for tokens, at least: RFC 7518 wants as many as the digest has.
pub const TOKEN_SECRET_BYTES_MIN: usize = 32;
/// Characters of a token's subject, at most: as many as a declared voter may have.
const SUBJECT_CHARS_MAX: usize = 128;

/// A way to recognise a voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentitySource {
    /// A JSON Web Token in `Authorization: Bearer`.
    Token,
    /// `voter_id` in the request: the caller is trusted to know its voters.
    Declared,
    /// A signed cookie, given to a browser with its first vote.
    Cookie,
}

impl IdentitySource {
    /// Reads the word for it in the configuration: `jwt`, `declared`, `cookie`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "jwt" => Some(Self::Token),
            "declared" => Some(Self::Declared),
            "cookie" => Some(Self::Cookie),
            _ => None,
        }
    }
}

/// Who may do what.
#[derive(Debug, Clone)]
pub struct Access {
    /// How voters are recognised; the first that a request has decides. Without [`IdentitySource::Token`], bearer tokens name nobody.
    pub identities: Vec<IdentitySource>,
    /// Checks JSON Web Tokens; needed when they are among `identities`.
    pub tokens: Option<TokenVerifier>,
    /// Who may create polls; empty: everybody.
    pub api_keys: Vec<ApiKey>,
    /// Whether cookies are marked `Secure` even when the request did not come over TLS, because a proxy in front has it.
    pub secure_cookies: bool,
    /// How often.
    pub rates: Rates,
}

impl Access {
    /// Voters declare themselves or get a cookie, and everybody may create polls: what a laptop needs.
    #[must_use]
    pub fn open() -> Self {
        Self {
            identities: vec![IdentitySource::Declared, IdentitySource::Cookie],
            tokens: None,
            api_keys: Vec::new(),
            secure_cookies: false,
            rates: Rates::default(),
        }
    }

    /// Whether voters are recognised in this way.
    #[must_use]
    pub fn recognises(&self, source: IdentitySource) -> bool {
        self.identities.contains(&source)
    }

    /// Whether `key` is one of the API keys. Takes the same time whichever it is.
    #[must_use]
    pub fn admits(&self, key: &str) -> bool {
        let any = self.api_keys.iter().fold(Choice::from(0), |found, known| found | known.0.as_bytes().ct_eq(key.as_bytes()));
        any.into()
    }
}

/// A key that lets its holder create polls. Never prints itself.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes the key as the configuration has it; `None` when it is empty.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        (!key.is_empty()).then(|| Self(key.to_owned()))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(redacted)")
    }
}

/// How tokens are signed. Exactly one is accepted, whatever a token says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256 and a public key in PEM.
    Rs256,
    /// ECDSA on P-256 with SHA-256 and a public key in PEM.
    Es256,
    /// Ed25519 and a public key in PEM.
    EdDsa,
}

impl TokenAlgorithm {
    /// Reads the name that RFC 7518 gives it: `HS256`, `RS256`, `ES256`, `EdDSA`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// The key cannot be used for the algorithm.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenKeyError {
    /// The shared secret can be guessed.
    #[error("a token secret must have at least {TOKEN_SECRET_BYTES_MIN} bytes")]
    SecretTooShort,
    /// It is not a public key for the algorithm.
    #[error("the token key is not a public key in PEM for this algorithm")]
    NotAKey(#[source] jsonwebtoken::errors::Error),
}

/// Checks JSON Web Tokens. Never prints its key.
#[derive(Clone)]
pub struct TokenVerifier {
    key: DecodingKey,
    validation: Validation,
    leeway: Duration,
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenVerifier(redacted)")
    }
}

/// What is read of a token. RFC 7519 lets times have fractions.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
}

impl TokenVerifier {
    /// Accepts tokens of this algorithm and key, for this audience (`None`: any that does not name one), with a clock that may be
    /// off by `leeway`.
    ///
    /// # Errors
    ///
    /// When the key does not fit the algorithm.
    pub fn new(algorithm: TokenAlgorithm, key: &[u8], audience: Option<&str>, leeway: Duration) -> Result<Self, TokenKeyError> {
        if algorithm == TokenAlgorithm::Hs256 && key.len() < TOKEN_SECRET_BYTES_MIN {
            return Err(TokenKeyError::SecretTooShort);
        }
        let (algorithm, key) = match algorithm {
            TokenAlgorithm::Hs256 => (Algorithm::HS256, Ok(DecodingKey::from_secret(key))),
            TokenAlgorithm::Rs256 => (Algorithm::RS256, DecodingKey::from_rsa_pem(key)),
            TokenAlgorithm::Es256 => (Algorithm::ES256, DecodingKey::from_ec_pem(key)),
            TokenAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_pem(key)),
        };
        let mut validation = Validation::new(algorithm);
        // Times are checked here, against the clock that everything else uses.
        validation.validate_exp = false;
        let mut required = vec!["exp", "sub"];
        if let Some(audience) = audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Ok(Self { key: key.map_err(TokenKeyError::NotAKey)?, validation, leeway })
    }

    /// Accepts only tokens that name this issuer.
    #[must_use]
    pub fn from_issuer(mut self, issuer: &str) -> Self {
        self.validation.set_issuer(&[issuer]);
        self.validation.required_spec_claims.insert("iss".to_owned());
        self
    }

    /// Whom the token names, when it is valid at `now`.
    #[must_use]
    pub fn subject(&self, token: &str, now: Timestamp) -> Option<String> {
        let TokenData { header, claims } = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation).ok()?;
        // Whoever made it insists on something that is not understood here (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a microsecond more or less does not matter")]
        let now = now.as_micros() as f64 / 1e6;
        let leeway = self.leeway.as_secs_f64();
        let is_current = now < claims.exp + leeway && claims.nbf.is_none_or(|start| start - leeway <= now);
        let is_name = (1..=SUBJECT_CHARS_MAX).contains(&claims.sub.chars().count());
        (is_current && is_name).then_some(claims.sub)
    }
}
