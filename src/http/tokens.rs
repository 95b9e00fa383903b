//! Tokens: words that open a door, known by their digests.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::reread::Files;

/// The file in the data folder that a made token is kept in.
const TOKEN_FILE: &str = "admin-token";

/// Words that open a door: the admin tokens, or the API keys. Several let one be replaced without an
/// interruption.
///
/// They are kept as SHA-256 digests, so that comparing takes as long whatever their length.
#[derive(Debug)]
pub struct Tokens {
    known: RwLock<Vec<Token>>,
    file: Option<File>,
}

type Token = [u8; 32];

/// The file that tokens are read from, again and again.
#[derive(Debug)]
struct File {
    path: PathBuf,
    files: Files,
}

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// What was given holds no token.
    #[error("there is no token in {0}; give one that is not blank")]
    NoToken(String),
    /// The file can't be read.
    #[error("could not read the tokens in {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Tokens {
    /// These tokens. Surrounding white space does not belong to a token.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoToken`] where all of them are blank.
    pub fn new<T: AsRef<str>>(tokens: impl IntoIterator<Item = T>) -> Result<Self, TokensError> {
        let known = digests(tokens, "what was given")?;
        Ok(Self {
            known: RwLock::new(known),
            file: None,
        })
    }

    /// The tokens in a file, one a line, which is read again when it changes.
    ///
    /// # Errors
    ///
    /// Where the file can't be read, or holds only blank lines.
    pub fn from_file(path: &Path) -> Result<Self, TokensError> {
        let file = File {
            path: path.to_owned(),
            files: Files::new([path]),
        };
        Ok(Self {
            known: RwLock::new(read(path)?),
            file: Some(file),
        })
    }

    /// The token kept in the folder `data`; if none is there, one is made, which only the owner of
    /// the file can read. Its place is logged, never the token. Where it can't be kept, `/admin` is
    /// closed, and the log says why.
    pub fn kept_in(data: &Path) -> Self {
        let path = data.join(TOKEN_FILE);
        match make_token(data, &path) {
            Ok(()) => tracing::info!(path = %path.display(), "made an admin token"),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                tracing::info!(path = %path.display(), "the admin token is kept here");
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no admin token can be kept, so /admin is closed; give one with --admin-token-file");
                return Self::none();
            }
        }
        Self::from_file(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "/admin is closed");
            Self::none()
        })
    }

    /// No tokens: the door stays closed.
    pub fn none() -> Self {
        Self {
            known: RwLock::default(),
            file: None,
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// Compares with every token, so that the time tells nothing about which of them is near.
    pub(super) fn admit(&self, token: &str) -> bool {
        let digest: Token = Sha256::digest(token).into();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let matches = known.iter().map(|known| known.ct_eq(&digest));
        matches.fold(Choice::from(0), |any, this| any | this).into()
    }

    /// Reads the file again if it has changed. One that can't be used leaves the tokens as they are.
    pub(super) fn refresh(&self) {
        let Some(file) = self.file.as_ref().filter(|file| file.files.have_changed()) else {
            return;
        };
        match read(&file.path) {
            Ok(tokens) => {
                tracing::info!(path = %file.path.display(), count = tokens.len(), "the tokens were read again");
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = tokens;
            }
            Err(error) => {
                tracing::warn!(%error, "the tokens before hold until their file is well again")
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<Token>, TokensError> {
    let text = fs::read_to_string(path).map_err(|source| TokensError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    digests(text.lines(), &path.display().to_string())
}

fn digests<T: AsRef<str>>(
    tokens: impl IntoIterator<Item = T>,
    origin: &str,
) -> Result<Vec<Token>, TokensError> {
    let digests = tokens.into_iter().filter_map(|token| {
        let token = token.as_ref().trim();
        (!token.is_empty()).then(|| Sha256::digest(token).into())
    });
    let tokens: Vec<Token> = digests.collect();
    if tokens.is_empty() {
        return Err(TokensError::NoToken(origin.to_owned()));
    }
    Ok(tokens)
}

/// Writes a new token to a file that is not there yet.
fn make_token(folder: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let token = hex::encode(rand::random::<[u8; 32]>());
    writeln!(options.open(path)?, "{token}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_tokens_is_admitted_and_nothing_else() {
        let tokens = Tokens::new(["first", " second\n", ""]).unwrap();
        assert!(tokens.admit("first") && tokens.admit("second"));
        for other in ["", "firs", "first ", "FIRST", " second\n"] {
            assert!(!tokens.admit(other), "{other:?}");
        }
        assert!(Tokens::new(["", "  "]).is_err());
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_one_that_breaks_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        fs::write(&path, "old\n").unwrap();
        let tokens = Tokens::from_file(&path).unwrap();
        fs::write(&path, "old\nnewer\n").unwrap();
        assert!(!tokens.admit("newer"), "nobody has looked yet");
        tokens.refresh();
        assert!(tokens.admit("old") && tokens.admit("newer"));
        for broken in [&b"\n\n"[..], b"\xff\xfe"] {
            fs::write(&path, broken).unwrap();
            tokens.refresh();
            assert!(tokens.admit("old") && tokens.admit("newer"));
        }
        fs::remove_file(&path).unwrap();
        tokens.refresh();
        assert!(tokens.admit("newer"));
        fs::write(&path, "newest\n").unwrap();
        tokens.refresh();
        assert!(tokens.admit("newest") && !tokens.admit("newer"));
    }

    #[test]
    fn a_made_token_is_kept_for_its_owner_alone() {
        let data = tempfile::tempdir().unwrap();
        let made = Tokens::kept_in(&data.path().join("new"));
        let path = data.path().join("new").join(TOKEN_FILE);
        let token = fs::read_to_string(&path).unwrap();
        assert!(token.trim().len() == 64 && made.admit(token.trim()));
        assert!(Tokens::kept_in(&data.path().join("new")).admit(token.trim()));
        #[cfg(unix)]
        {
            let permissions = fs::metadata(&path).unwrap().permissions();
            assert_eq!(
                std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn where_no_token_can_be_kept_nobody_is_admitted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tokens = Tokens::kept_in(file.path());
        assert!(tokens.is_empty() && !tokens.admit(""));
    }
}
