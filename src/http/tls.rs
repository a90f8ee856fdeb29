//! TLS (RFC 8446, 5246): a certificate, its key, and connections that speak it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why no TLS can be spoken with what was given.
#[derive(Debug)]
pub(crate) struct TlsError {
    path: PathBuf,
    why: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}; PEM files of a certificate chain and of its key expected",
            self.path.display(),
            self.why
        )
    }
}

impl std::error::Error for TlsError {}

/// Speaks TLS with this certificate chain and key, PEM both.
pub(crate) fn acceptor(certificates: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let wrong =
        |path: &Path, why: &dyn fmt::Display| TlsError { path: path.to_owned(), why: why.to_string() };
    let chain = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| wrong(certificates, &error))?;
    if chain.is_empty() {
        return Err(wrong(certificates, &"no certificate in it"));
    }
    // What the error says of a key is its form, never its content.
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| wrong(certificates, &error))?.with_no_client_auth();
    let mut config = config.with_single_cert(chain, private).map_err(|error| wrong(certificates, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
