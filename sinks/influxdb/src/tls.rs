//! TLS: the roots that are trusted, read from files once at the start.
//!
//! The HTTP client is given a finished configuration, so that its own reading of certificates, by a crate that nobody
//! maintains, is never used.

use std::path::Path;

use kstar_common::key::KeyError;
use rustls::{ClientConfig, RootCertStore};

/// What is trusted: the system's roots, or only those in the file.
pub(crate) fn configuration(ca: Option<&Path>) -> Result<ClientConfig, KeyError> {
    let found = match ca {
        Some(path) => rustls_native_certs::load_certs_from_paths(Some(path), None),
        None => rustls_native_certs::load_native_certs(),
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(&found.certs);
    if added == 0 {
        let reason = found
            .errors
            .first()
            .map_or(String::new(), |error| format!(" ({error})"));
        let (key, message) = match ca {
            Some(path) => (
                "ca",
                format!(
                    "no certificate in {}{reason}: it should have a line `-----BEGIN CERTIFICATE-----`",
                    path.display()
                ),
            ),
            None => (
                "url",
                format!(
                    "the system has no root certificates{reason}; install the package ca-certificates, or name your own with `ca`"
                ),
            ),
        };
        return Err(KeyError::new(key, message));
    }
    Ok(ClientConfig::builder()
        .with_safe_defaults()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let error = configuration(Some(&path)).unwrap_err().message;
        assert!(
            error.contains("ca.pem") && error.contains("No such file"),
            "{error}"
        );
        std::fs::write(&path, "no certificate").unwrap();
        let error = configuration(Some(&path)).unwrap_err().message;
        assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
    }
}
