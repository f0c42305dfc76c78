//! TLS: the roots that are trusted and our own certificate, read from files once at the start.

use std::path::Path;
use std::sync::Arc;

use kstar_common::key::KeyError;
use kstar_common::tls::{certificates, client};
use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// What is trusted: the system's roots, or only those in the file; and whom we say we are.
pub(crate) fn configuration(
    ca: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, KeyError> {
    let builder = client(ca)?;
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
