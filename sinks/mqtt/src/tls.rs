//! TLS: the roots that are trusted and our own certificate, read from files once at the start.
//!
//! rumqttc is given a finished configuration, so that its own reading of certificates (through a crate that nobody
//! maintains) never runs. The provider is ring, named here and not installed for the whole process.

use std::path::Path;
use std::sync::Arc;

use kstar_common::key::KeyError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// What is trusted: the system's roots, or only those in the file; and whom we say we are.
pub(crate) fn configuration(
    ca: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, KeyError> {
    let roots = match ca {
        Some(path) => roots_in(path).map_err(|reason| KeyError::new("ca", reason))?,
        None => system_roots().map_err(|reason| KeyError::new("url", reason))?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| KeyError::new("url", format!("cannot set up TLS: {error}")))?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)
                .map_err(|reason| KeyError::new("client_certificate", reason))?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                let path = key.display();
                let reason = format!("cannot read a private key in {path}: {error}");
                KeyError::new("client_key", reason)
            })?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| {
                    let reason = format!(
                        "the certificate in {} does not go with the key in {}: {error}",
                        certificate.display(),
                        key.display()
                    );
                    KeyError::new("client_certificate", reason)
                })?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
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

fn roots_in(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| format!("a certificate in {} is no root: {error}", path.display()))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found
            .errors
            .first()
            .map_or(String::new(), |error| format!(" ({error})"));
        return Err(format!(
            "the system has no root certificates{reason}; install the package ca-certificates, or name your own with `ca`"
        ));
    }
    Ok(roots)
}
