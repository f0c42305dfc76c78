//! TLS as every client of ours has it: whom it trusts are the certificates of the system, or only those in a file. It
//! blocks.
//!
//! Clients are given finished configurations, so that their own reading of certificates, by a crate that nobody maintains,
//! never runs. The provider is ring, named here and not installed for the whole process.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::key::KeyError;

/// A client that trusts the system's roots, or only those in the file; whom it says it is remains to be set.
pub fn client(ca: Option<&Path>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, KeyError> {
    let roots = roots(ca)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| KeyError::new("url", format!("cannot set up TLS: {error}")))?;
    Ok(builder.with_root_certificates(roots))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, KeyError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        if roots.add_parsable_certificates(found.certs).0 > 0 {
            return Ok(roots);
        }
        let reason = found.errors.first();
        let reason = reason.map_or(String::new(), |error| format!(" ({error})"));
        let message = format!(
            "the system has no root certificates{reason}; install the package ca-certificates, or name your own with `ca`"
        );
        return Err(KeyError::new("url", message));
    };
    let found = certificates(path).map_err(|reason| KeyError::new("ca", reason))?;
    if roots.add_parsable_certificates(found).1 > 0 {
        let message = format!("a certificate in {} is no root", path.display());
        return Err(KeyError::new("ca", message));
    }
    Ok(roots)
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
        let refusal = || roots(Some(&path)).unwrap_err().message;
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
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        std::fs::write(&path, &root).unwrap();
        roots(Some(&path)).unwrap();
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, root + other).unwrap();
        let error = roots(Some(&path)).unwrap_err();
        assert!(error.message.contains("is no root"), "{error}");
    }
}
