//! Secrets and keys: given by settings, or kept in the data folder. None of them ever prints itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use polling_core::secret::{SECRET_BYTES_MIN, Secret};
use polling_core::settings::{SettingError, Settings};
use thiserror::Error;

use crate::api::access::{ApiKey, TokenAlgorithm, TokenVerifier};

/// Characters of an API key, at least: nobody guesses one in the lifetime of a poll.
const API_KEY_CHARACTERS_MIN: usize = 16;
/// How far the clock of whoever makes tokens may be off: a minute, as is usual.
const TOKEN_LEEWAY: Duration = Duration::from_secs(60);
/// The name of the kept secret in the data folder.
const KEPT_SECRET: &str = "secret";
/// The name of the file in the data folder that says whether a secret is the one that the data was made with.
const SECRET_CHECK: &str = "secret.check";

/// Why a secret or a key cannot be used.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The file cannot be read.
    #[error("failed to read {what} from {path:?}")]
    Unreadable {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file does not have what it should.
    #[error("{what} in {path:?} cannot be used: {reason}")]
    Unusable {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why, as a sentence without its end.
        reason: String,
    },
    /// The secret that the data was made with is gone.
    #[error(
        "the data folder has {store:?} but not the secret that its voters were named with, {secret:?}: put it back, or give it with --secret-file; with a new one everybody could vote again"
    )]
    Gone {
        /// The data file.
        store: PathBuf,
        /// Where the secret should be.
        secret: PathBuf,
    },
    /// The secret is not the one that the data was made with.
    #[error(
        "the secret is not the one that the voters in {store:?} were named with, as {check:?} shows: give that one; with another everybody could vote again, and no receipt would hold"
    )]
    Another {
        /// The data file.
        store: PathBuf,
        /// What tells them apart.
        check: PathBuf,
    },
    /// The secret cannot be kept.
    #[error("failed to keep a secret in {path:?}")]
    NotKept {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl CredentialError {
    /// Whether a person has to change something, and not the disk.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        !matches!(self, Self::NotKept { .. })
    }
}

/// The bytes that `value` or the file named by `file` holds, without the line ends after them. A file is stronger evidence of care, but
/// two sources are a mistake.
fn given(
    settings: &Settings,
    what: &'static str,
    value: Option<&'static str>,
    file: &'static str,
) -> Result<Option<Vec<u8>>, CredentialError> {
    let value = value.and_then(|name| Some((name, settings.get(name)?)));
    match (value, settings.get(file)) {
        (Some((name, _)), Some(_)) => Err(settings.bad_value(file, format!("--{name} is given, too: only one can be")).into()),
        (Some((_, value)), None) => Ok(Some(value.as_bytes().to_vec())),
        (None, Some(path)) => read(what, Path::new(path)).map(Some),
        (None, None) => Ok(None),
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, CredentialError> {
    let mut bytes = std::fs::read(path).map_err(|cause| CredentialError::Unreadable { what, path: path.into(), cause })?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(bytes)
}

/// The secret from the settings; `None` when they have none.
///
/// # Errors
///
/// When it cannot be read or is too short.
pub fn given_secret(settings: &Settings) -> Result<Option<Secret>, CredentialError> {
    let Some(bytes) = given(settings, "the secret", Some("secret"), "secret-file")? else { return Ok(None) };
    let name = if settings.get("secret").is_some() { "secret" } else { "secret-file" };
    Secret::new(&bytes).map(Some).map_err(|short| settings.bad_value(name, short.to_string()).into())
}

/// The secret that is kept in the data folder, made now when there is none. `store` is the data file, if the store is one.
///
/// # Errors
///
/// When others may read it, when it is too short, when it cannot be read or written, and when it is gone while the data that was made
/// with it is there.
pub fn kept_secret(data_dir: &Path, store: Option<&Path>) -> Result<Secret, CredentialError> {
    let path = data_dir.join(KEPT_SECRET);
    match File::open(&path) {
        Ok(file) => check_mode(&file, &path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(store) = store.filter(|store| store.exists()) {
                return Err(CredentialError::Gone { store: store.into(), secret: path });
            }
            make_secret(data_dir, &path).map_err(|cause| CredentialError::NotKept { path: path.clone(), cause })?;
            tracing::info!(path = %path.display(), "made a secret: keep a copy with the backups of the data");
        }
        Err(cause) => return Err(CredentialError::Unreadable { what: "the secret", path, cause }),
    }
    let bytes = read("the secret", &path)?;
    Secret::new(&bytes).map_err(|short| unusable("the secret", &path, short.to_string()))
}

/// Refuses a secret that is not the one that the data in `store` was made with. Data that says nothing about it is believed.
///
/// # Errors
///
/// When it is another one, and when that cannot be found out.
pub fn check_secret(data_dir: &Path, store: &Path, secret: &Secret) -> Result<(), CredentialError> {
    let path = data_dir.join(SECRET_CHECK);
    match std::fs::read_to_string(&path) {
        Ok(known) if known.trim() == secret.check_value() || !store.exists() => Ok(()),
        Ok(_) => Err(CredentialError::Another { store: store.into(), check: path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(CredentialError::Unreadable { what: "the check value of the secret", path, cause }),
    }
}

/// Keeps what [`check_secret`] looks at. Only for whoever has the data to itself.
///
/// # Errors
///
/// When it cannot be written.
pub fn keep_check(data_dir: &Path, secret: &Secret) -> Result<(), CredentialError> {
    let (path, value) = (data_dir.join(SECRET_CHECK), secret.check_value());
    if std::fs::read_to_string(&path).is_ok_and(|known| known.trim() == value) {
        return Ok(());
    }
    let kept = write_draft(data_dir, SECRET_CHECK, &value).and_then(|draft| std::fs::rename(draft, &path));
    kept.and_then(|()| File::open(data_dir)?.sync_all()).map_err(|cause| CredentialError::NotKept { path, cause })
}

fn unusable(what: &'static str, path: &Path, reason: impl Into<String>) -> CredentialError {
    CredentialError::Unusable { what, path: path.into(), reason: reason.into() }
}

#[cfg(unix)]
fn check_mode(file: &File, path: &Path) -> Result<(), CredentialError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata();
    let mode = metadata.map_err(|cause| CredentialError::Unreadable { what: "the secret", path: path.into(), cause })?;
    let mode = mode.permissions().mode() & 0o777;
    // The group is left alone: Kubernetes gives the files of a volume to the group of the pod.
    if mode & 0o007 == 0 {
        return Ok(());
    }
    let reason = format!("everybody on this machine may use it (mode {mode:03o}); chmod 600 it, if nobody has read it");
    Err(unusable("the secret", path, reason))
}

#[cfg(not(unix))]
fn check_mode(_file: &File, _path: &Path) -> Result<(), CredentialError> {
    Ok(())
}

/// Makes the file whole under another name first: nobody ever finds half a secret. When two do this at once, the first one's stays.
fn make_secret(data_dir: &Path, path: &Path) -> io::Result<()> {
    let mut random = [0_u8; SECRET_BYTES_MIN];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let draft = write_draft(data_dir, KEPT_SECRET, &text)?;
    let placed = match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        placed => placed,
    };
    std::fs::remove_file(&draft)?;
    placed?;
    File::open(data_dir)?.sync_all()
}

/// Writes a file that is to have this name in the end, for nobody else to read.
fn write_draft(data_dir: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let draft = data_dir.join(format!("{name}.{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(format!("{text}\n").as_bytes())?;
    file.sync_all()?;
    Ok(draft)
}

/// The keys of which one is needed to create polls; when there are none, everybody may.
///
/// # Errors
///
/// When the file cannot be read, when a key is too short, and when a source of keys has none.
pub fn api_keys(settings: &Settings) -> Result<Vec<ApiKey>, CredentialError> {
    let Some(bytes) = given(settings, "the API keys", Some("api-keys"), "api-keys-file")? else { return Ok(Vec::new()) };
    let name = if settings.get("api-keys").is_some() { "api-keys" } else { "api-keys-file" };
    let text = String::from_utf8(bytes).unwrap_or_default();
    let keys: Vec<&str> = text.split([',', '\n']).map(str::trim).filter(|key| !key.is_empty()).collect();
    if keys.is_empty() || keys.iter().any(|key| key.chars().count() < API_KEY_CHARACTERS_MIN) {
        let expected = format!("it must have keys of at least {API_KEY_CHARACTERS_MIN} characters");
        return Err(settings.bad_value(name, expected).into());
    }
    Ok(keys.into_iter().filter_map(ApiKey::new).collect())
}

/// How bearer tokens are checked: one algorithm, as RFC 8725 asks for, and one key that fits it; `None` when there is no key.
///
/// # Errors
///
/// When a key cannot be read, is too short, or does not fit the algorithm.
pub fn tokens(settings: &Settings) -> Result<Option<TokenVerifier>, CredentialError> {
    let secret = given(settings, "the secret of tokens", Some("jwt-secret"), "jwt-secret-file")?;
    let public_key = given(settings, "the public key of tokens", None, "jwt-public-key-file")?;
    let algorithm = settings.parsed("jwt-algorithm", "HS256, RS256, ES256 or EdDSA", TokenAlgorithm::parse)?;
    let (algorithm, key, source) = match (secret, public_key) {
        (Some(_), Some(_)) => {
            return Err(settings.bad_value("jwt-public-key-file", "a secret is given, too: only one can be").into());
        }
        (Some(secret), None) => {
            if algorithm.is_some_and(|algorithm| algorithm != TokenAlgorithm::Hs256) {
                return Err(settings.bad_value("jwt-algorithm", "with a secret it must be HS256").into());
            }
            let source = if settings.get("jwt-secret").is_some() { "jwt-secret" } else { "jwt-secret-file" };
            (TokenAlgorithm::Hs256, secret, source)
        }
        (None, Some(pem)) => (public_key_algorithm(settings, algorithm)?, pem, "jwt-public-key-file"),
        (None, None) => return Ok(None),
    };
    let verifier = TokenVerifier::new(algorithm, &key, settings.get("jwt-audience"), TOKEN_LEEWAY);
    let verifier = verifier.map_err(|error| settings.bad_value(source, error.to_string()))?;
    Ok(Some(match settings.get("jwt-issuer") {
        Some(issuer) => verifier.from_issuer(issuer),
        None => verifier,
    }))
}

fn public_key_algorithm(settings: &Settings, algorithm: Option<TokenAlgorithm>) -> Result<TokenAlgorithm, CredentialError> {
    match algorithm {
        None => Err(settings.missing("jwt-algorithm", "a public key alone does not say how tokens are signed").into()),
        Some(TokenAlgorithm::Hs256) => Err(settings.bad_value("jwt-algorithm", "with a public key it must not be HS256").into()),
        Some(algorithm) => Ok(algorithm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_is_never_made_for_old_data() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("polling.db");
        kept_secret(folder.path(), Some(&store)).expect("made");
        std::fs::write(&store, "").expect("written");
        kept_secret(folder.path(), Some(&store)).expect("kept");
        std::fs::remove_file(folder.path().join(KEPT_SECRET)).expect("removed");
        let error = kept_secret(folder.path(), Some(&store)).expect_err("gone");
        assert!(matches!(error, CredentialError::Gone { .. }) && error.is_configuration(), "{error}");
    }

    #[test]
    fn another_secret_is_refused_for_data_that_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("polling.db");
        let (first, other) = (Secret::new(&[1; 32]).expect("long"), Secret::new(&[2; 32]).expect("long"));
        std::fs::write(&store, "").expect("written");
        check_secret(folder.path(), &store, &other).expect("nothing is known of older data");
        keep_check(folder.path(), &first).expect("kept");
        check_secret(folder.path(), &store, &first).expect("the same");
        let error = check_secret(folder.path(), &store, &other).expect_err("another");
        assert!(matches!(error, CredentialError::Another { .. }) && error.is_configuration(), "{error}");
        let kept = std::fs::read_to_string(folder.path().join(SECRET_CHECK)).expect("kept");
        assert_eq!(kept.trim(), first.check_value());
        std::fs::remove_file(&store).expect("removed");
        check_secret(folder.path(), &store, &other).expect("there is nothing to lose");
        keep_check(folder.path(), &other).expect("kept");
        std::fs::write(&store, "").expect("written");
        check_secret(folder.path(), &store, &first).expect_err("another");
    }

    #[test]
    fn two_that_make_a_secret_at_once_keep_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(KEPT_SECRET);
        make_secret(folder.path(), &path).expect("made");
        let first = std::fs::read(&path).expect("a secret");
        make_secret(folder.path(), &path).expect("made before");
        assert_eq!(std::fs::read(&path).expect("a secret"), first);
    }
}
