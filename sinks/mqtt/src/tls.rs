//! TLS: the roots that are trusted and our own certificate, read from files once at the start.
//!
//! rumqttc is given a finished configuration, so that its own reading of certificates (through a crate that nobody
//! maintains) never runs. The provider is ring, named here and not installed for the whole process.

use std::path::Path;
use std::sync::Arc;

use kstar_common::key::KeyError;
use kstar_common::tls::{certificates, trust};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// What is trusted: the system's roots, or only those in the file; and whom we say we are.
pub(crate) fn configuration(
    ca: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, KeyError> {
    let mut roots = RootCertStore::empty();
    trust(ca, |found| roots.add_parsable_certificates(found).0)?;
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
