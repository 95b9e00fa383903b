//! Who may use `/admin`: the holders of a bearer token.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::problem::Problem;
use super::state::AppState;

/// The file in the data folder that a made token is kept in.
const TOKEN_FILE: &str = "admin-token";

/// Who may use `/admin`.
///
/// Tokens are kept as SHA-256 digests, so that comparing them takes as long whatever their length.
#[derive(Debug)]
pub struct Admin {
    tokens: Vec<[u8; 32]>,
}

/// Why there is no admin token.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// What was given holds no token.
    #[error("there is no admin token in {0}; give one that is not blank")]
    NoToken(String),
    /// The file can't be read.
    #[error("could not read the admin tokens in {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Admin {
    /// Whoever shows one of these tokens; several let one be replaced without an interruption.
    /// Surrounding white space does not belong to a token.
    ///
    /// # Errors
    ///
    /// [`AdminError::NoToken`] where all of them are blank.
    pub fn new<T: AsRef<str>>(tokens: impl IntoIterator<Item = T>) -> Result<Self, AdminError> {
        Self::of(tokens, "what was given")
    }

    /// Whoever shows one of the tokens in a file, one a line.
    ///
    /// # Errors
    ///
    /// Where the file can't be read, or holds only blank lines.
    pub fn from_file(path: &Path) -> Result<Self, AdminError> {
        let text = fs::read_to_string(path).map_err(|source| AdminError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::of(text.lines(), &path.display().to_string())
    }

    /// Whoever shows the token kept in the folder `data`; if none is there, one is made, which only the
    /// owner of the file can read. Its place is logged, never the token. Where it can't be kept, `/admin`
    /// is closed, and the log says why.
    pub fn kept_in(data: &Path) -> Self {
        let path = data.join(TOKEN_FILE);
        match make_token(data, &path) {
            Ok(()) => tracing::info!(path = %path.display(), "made an admin token"),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                tracing::info!(path = %path.display(), "the admin token is kept here");
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "no admin token can be kept, so /admin is closed; give one with --admin-token-file");
                return Self::disabled();
            }
        }
        Self::from_file(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "/admin is closed");
            Self::disabled()
        })
    }

    /// Nobody.
    pub fn disabled() -> Self {
        Self { tokens: Vec::new() }
    }

    fn of<T: AsRef<str>>(
        tokens: impl IntoIterator<Item = T>,
        origin: &str,
    ) -> Result<Self, AdminError> {
        let digests = tokens.into_iter().filter_map(|token| {
            let token = token.as_ref().trim();
            (!token.is_empty()).then(|| Sha256::digest(token).into())
        });
        let tokens: Vec<[u8; 32]> = digests.collect();
        if tokens.is_empty() {
            return Err(AdminError::NoToken(origin.to_owned()));
        }
        Ok(Self { tokens })
    }

    /// Compares with every token, so that the time tells nothing about which of them is near.
    fn admits(&self, token: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let matches = self.tokens.iter().map(|known| known.ct_eq(&digest));
        matches.fold(Choice::from(0), |any, this| any | this).into()
    }
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

/// Lets a request through to `/admin` only with a known token.
pub(super) async fn require_token(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let admin = &state.admin;
    if admin.tokens.is_empty() {
        return Problem::new(
            "admin_disabled",
            "the server runs without an admin token, so nobody can use /admin; start it with --admin-token-file",
        )
        .into_response();
    }
    let presented = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let refusal = match presented {
        Some(token) if admin.admits(token) => return next.run(request).await,
        Some(_) => "the bearer token is not one of the admin tokens",
        None => "/admin needs the header \"Authorization: Bearer <admin token>\"",
    };
    Problem::new("unauthorized", refusal).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_tokens_is_admitted_and_nothing_else() {
        let admin = Admin::new(["first", " second\n", ""]).unwrap();
        assert!(admin.admits("first") && admin.admits("second"));
        for other in ["", "firs", "first ", "FIRST", " second\n"] {
            assert!(!admin.admits(other), "{other:?}");
        }
        assert!(Admin::new(["", "  "]).is_err());
    }

    #[test]
    fn a_made_token_is_kept_for_its_owner_alone() {
        let data = tempfile::tempdir().unwrap();
        let made = Admin::kept_in(&data.path().join("new"));
        let path = data.path().join("new").join(TOKEN_FILE);
        let token = fs::read_to_string(&path).unwrap();
        assert!(token.trim().len() == 64 && made.admits(token.trim()));
        assert!(Admin::kept_in(&data.path().join("new")).admits(token.trim()));
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
        let admin = Admin::kept_in(file.path());
        assert!(admin.tokens.is_empty() && !admin.admits(""));
    }
}
