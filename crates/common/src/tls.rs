//! Whom TLS trusts: the certificates of the system, or only those in a file. It blocks.
//!
//! Clients are given finished configurations with them, so that their own reading of certificates, by a crate that nobody
//! maintains, never runs.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::key::KeyError;

/// Gives the certificates that are trusted to a store of roots, which says how many of them it takes.
pub fn trust(
    ca: Option<&Path>,
    add: impl FnOnce(Vec<CertificateDer<'static>>) -> usize,
) -> Result<(), KeyError> {
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        if add(found.certs) > 0 {
            return Ok(());
        }
        let reason = found.errors.first();
        let reason = reason.map_or(String::new(), |error| format!(" ({error})"));
        let message = format!(
            "the system has no root certificates{reason}; install the package ca-certificates, or name your own with `ca`"
        );
        return Err(KeyError::new("url", message));
    };
    let found = certificates(path).map_err(|reason| KeyError::new("ca", reason))?;
    let all = found.len();
    if add(found) < all {
        let message = format!("a certificate in {} is no root", path.display());
        return Err(KeyError::new("ca", message));
    }
    Ok(())
}

/// The certificates in a file; the error says what is wrong with it.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let problem = |error| format!("cannot read certificates in {}: {error}", path.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(problem)?
        .collect::<Result<_, _>>()
        .map_err(problem)?;
    if found.is_empty() {
        return Err(format!(
            "no certificate in {}: it should have a line `-----BEGIN CERTIFICATE-----`",
            path.display()
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let refusal = || trust(Some(&path), |found| found.len()).unwrap_err().message;
        let error = refusal();
        assert!(
            error.contains("ca.pem") && error.contains("No such file"),
            "{error}"
        );
        std::fs::write(&path, "no certificate").unwrap();
        let error = refusal();
        assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
    }

    #[test]
    fn a_certificate_in_the_file_that_is_no_root_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, one.repeat(2)).unwrap();
        trust(Some(&path), |found| found.len()).unwrap();
        let error = trust(Some(&path), |_| 1).unwrap_err();
        assert!(error.message.contains("is no root"), "{error}");
    }
}
