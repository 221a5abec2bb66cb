//! Encryption on the way to the server, by rustls. A certificate is always checked, and so is the name in it.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use segue_core::ports::StoreError;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::Tls;

/// What makes a connection an encrypted one; none where it stays open.
pub(crate) fn connector(tls: &Tls) -> Result<Option<MakeRustlsConnect>, StoreError> {
    let roots = match tls {
        Tls::Off => return Ok(None),
        Tls::System => system_roots()?,
        Tls::Authorities(path) => roots_in(path)?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Broken(format!("TLS cannot be used: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(MakeRustlsConnect::new(config)))
}

fn system_roots() -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(StoreError::Broken(
            "this machine trusts no certificates, so that none can be checked; install its package of certificates \
             (ca-certificates), or name a file with sslrootcert=FILE in the URL"
                .to_owned(),
        ));
    }
    Ok(roots)
}

fn roots_in(path: &Path) -> Result<RootCertStore, StoreError> {
    let wrong = |how: String| StoreError::Broken(format!("sslrootcert={}: {how}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("the file holds no certificate".to_owned()));
    }
    Ok(roots)
}
