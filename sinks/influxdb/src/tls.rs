//! TLS: the roots that are trusted, read from files once at the start.

use std::path::Path;

use kstar_common::key::KeyError;
use kstar_common::tls::trust;
use rustls::{ClientConfig, RootCertStore};

/// What is trusted: the system's roots, or only those in the file.
pub(crate) fn configuration(ca: Option<&Path>) -> Result<ClientConfig, KeyError> {
    let mut roots = RootCertStore::empty();
    trust(ca, |found| roots.add_parsable_certificates(&found).0)?;
    Ok(ClientConfig::builder()
        .with_safe_defaults()
        .with_root_certificates(roots)
        .with_no_client_auth())
}
