//! A server that speaks TLS: who is trusted, under which name, and what is said when it is not.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use segue_core::ports::RunStore;
use segue_postgres::PostgresStore;
use segue_testkit::{
    conformance::block_on,
    services::{self, PostgresServer},
};

use crate::{assert_broken, refusal, support::options};

/// An authority of our own.
fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A file with a certificate, gone with the test.
struct Pem(PathBuf);

impl Pem {
    fn of(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("segue-tls-{}-{name}.pem", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Pem {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_server_is_trusted_by_its_authority_and_its_name() {
    let (ours, theirs) = (authority("Ours"), authority("Theirs"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let server = PostgresServer::start_tls(&certificate.pem(), &key.serialize_pem()).unwrap();
    let (ours, theirs) = (Pem::of("ours", &ours.pem()), Pem::of("theirs", &theirs.pem()));
    block_on(async {
        let database = services::Database::on(&server.url()).await;
        let by_name = database.url().replace("127.0.0.1", "localhost");
        let with = |url: &str, words: &str| format!("{url}?{words}");
        let trusting = |pem: &Pem| format!("sslmode=verify-full&sslrootcert={}", pem.0.display());

        let store = PostgresStore::connect(&with(&by_name, &trusting(&ours)), options()).await.unwrap();
        assert_eq!(store.engines().await.unwrap(), []);
        // Every connection is encrypted: those of the pool, the one that commits, the one that listens.
        let _signals = store.request_signals();
        let open = "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
             WHERE application_name = 'segue'";
        let row = database.client().await.query_one(open, &[]).await.unwrap();
        let (all, encrypted) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
        assert!(all > 0 && all == encrypted, "{encrypted} of {all} connections are encrypted");

        assert_broken(refusal(&with(&by_name, &trusting(&theirs))).await, "sslrootcert=FILE");
        assert_broken(refusal(&with(&by_name, "sslmode=verify-full")).await, "sslrootcert=FILE");
        assert_broken(refusal(&with(&database.url(), &trusting(&ours))).await, "as its certificate does");
    });
}
