//! A certificate authority for one test.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The certificate that clients are to trust.
    pub(crate) fn pem(&self) -> String {
        self.pem.clone()
    }

    /// A certificate with the subject `O=Us, CN=…` for these names, and its key.
    pub(crate) fn sign(&self, common_name: &str, names: &[&str]) -> (String, String) {
        self.sign_params(&params(common_name, names))
    }

    /// The same, but it is no longer valid.
    pub(crate) fn sign_expired(&self, common_name: &str, names: &[&str]) -> (String, String) {
        let mut params = params(common_name, names);
        params.not_after = date_time_ymd(2001, 1, 1);
        params.not_before = date_time_ymd(2000, 1, 1);
        self.sign_params(&params)
    }

    /// What QEMU takes as `x509-dir`.
    pub(crate) fn folder(&self, common_name: &str, names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let (chain, key) = self.sign(common_name, names);
        for (name, text) in
            [("ca-cert.pem", &self.pem), ("server-cert.pem", &chain), ("server-key.pem", &key)]
        {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        folder
    }

    fn sign_params(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Us");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}
