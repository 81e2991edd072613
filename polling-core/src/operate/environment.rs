//! The environment variables of a program.

use std::collections::BTreeMap;
use std::ffi::OsString;

use thiserror::Error;

/// What the names of all settings begin with in the environment.
const PREFIX: &str = "POLLING_";
/// What the log listens to, by the custom of Rust programs.
const LOG: &str = "RUST_LOG";

/// A variable that the program reads is not text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the environment variable {0} is not encoded in UTF-8")]
pub struct NotText(pub String);

/// The variables that are text. What is not text cannot be a value of ours, and is left out; but not where the name is one of ours: a key
/// or a secret that nobody reads would leave open what it was to close.
///
/// # Errors
///
/// The first variable of ours that is not text.
pub fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<BTreeMap<String, String>, NotText> {
    let mut texts = BTreeMap::new();
    for (name, value) in variables {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                texts.insert(name, value);
            }
            (Ok(name), Err(_)) if name.starts_with(PREFIX) || name == LOG => return Err(NotText(name)),
            _ => {}
        }
    }
    Ok(texts)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn only_variables_of_others_may_be_anything() {
        let broken = || OsString::from_vec(b"key\xff".to_vec());
        let sound = [("POLLING_DRAIN".into(), "5s".into()), ("PS1".into(), broken()), (broken(), "POLLING_".into())];
        assert_eq!(read(sound), Ok([("POLLING_DRAIN".to_owned(), "5s".to_owned())].into()));
        for ours in ["POLLING_API_KEYS", "RUST_LOG"] {
            assert_eq!(read([(ours.into(), broken())]), Err(NotText(ours.to_owned())));
        }
    }
}
