//! The URL of a backend, taken apart, and what may be wrong with it.

use crate::open::OpenError;
use crate::settings::{nearest, redacted_url};

/// A URL taken apart.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    role: &'static str,
    whole: &'a str,
    pub(crate) scheme: &'a str,
    path: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(role: &'static str, url: &'a str) -> Self {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let parameters = query.split('&').filter(|pair| !pair.is_empty());
        let parameters = parameters.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        Self { role, whole: url, scheme, path, parameters }
    }

    pub(crate) fn unknown_scheme(&self, known: &[&str]) -> OpenError {
        OpenError::UnknownScheme {
            role: self.role,
            url: redacted_url(self.whole),
            scheme: self.scheme.to_owned(),
            nearest: nearest(self.scheme, known.iter().copied()),
            known: known.join(", "),
        }
    }

    pub(crate) fn bad(&self, reason: impl Into<String>) -> OpenError {
        OpenError::BadUrl { role: self.role, url: redacted_url(self.whole), reason: reason.into() }
    }

    pub(crate) fn not_built(&self, feature: &'static str) -> OpenError {
        OpenError::NotBuilt { role: self.role, url: redacted_url(self.whole), feature }
    }

    /// Refuses parameters that the backend does not have.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), OpenError> {
        self.only_some(known, |_| false)
    }

    /// The same where names of some form are known as well.
    pub(crate) fn only_some(&self, known: &[&str], is_known: impl Fn(&str) -> bool) -> Result<(), OpenError> {
        let Some(unknown) = self.parameters.iter().position(|(name, _)| !known.contains(name) && !is_known(name)) else {
            return Ok(());
        };
        // What seems to be a parameter may be the end of a password.
        if self.parameters[unknown..].iter().any(|(name, value)| name.contains('@') || value.contains('@')) {
            return Err(self.bad("in a user name, a password or a value, any of / ? # & @ must be percent-encoded"));
        }
        let (name, _) = self.parameters[unknown];
        Err(OpenError::UnknownParameter {
            role: self.role,
            url: redacted_url(self.whole),
            parameter: name.to_owned(),
            nearest: nearest(name, known.iter().copied()),
        })
    }

    /// What stands between the scheme and the parameters.
    pub(crate) const fn path(&self) -> &'a str {
        self.path
    }

    #[cfg(feature = "kafka")]
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.parameters.iter().copied()
    }

    /// A backend in memory has no path.
    pub(crate) fn nothing_but_parameters(&self) -> Result<(), OpenError> {
        if self.path.is_empty() { Ok(()) } else { Err(self.bad("nothing but parameters may follow memory:")) }
    }

    /// The value of a parameter.
    #[cfg(any(feature = "kafka", feature = "postgres"))]
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|&(_, value)| value)
    }

    /// The URL up to its parameters.
    #[cfg(feature = "postgres")]
    pub(crate) fn without_parameters(&self) -> &'a str {
        self.whole.split('?').next().unwrap_or(self.whole)
    }

    pub(crate) fn number(&self, name: &str, default: usize, bounds: std::ops::RangeInclusive<usize>) -> Result<usize, OpenError> {
        let Some((_, value)) = self.parameters.iter().find(|(known, _)| *known == name) else { return Ok(default) };
        value
            .parse()
            .ok()
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| self.bad(format!("{name} must be a number between {} and {}", bounds.start(), bounds.end())))
    }
}
