//! TLS under a channel: whom a client believes to be the right server, and what a server shows.
//!
//! TLS begins with the first byte of a connection, and SPICE runs inside. A client trusts the authorities it was given and
//! nobody else; without any it trusts those of the system. The certificate is for the host it connects to, or, where a
//! `host-subject` is given, has exactly that subject, whatever the host. What is wrong with a certificate is a
//! [`CertificateProblem`], never just a failed handshake.
//!
//! Start reading at [`connect`].

mod subject;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{
    Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use x509_cert::Certificate;
use x509_cert::certificate::Version;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use self::subject::Subject;
use super::address::TlsEndpoint;

pub use self::subject::SubjectError;

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The authorities given are none.
    #[error("the certificate authority that is given cannot be used: {problem}")]
    Authority {
        /// What is wrong.
        problem: String,
    },
    /// No authority at all.
    #[error("no certificate authority is given, and this system has none in {}", SYSTEM_AUTHORITIES.join(", "))]
    NoAuthority,
    /// The subject asked for is none.
    #[error("the host subject that is given is none")]
    HostSubject(#[source] SubjectError),
    /// A host that no certificate can be for.
    #[error("no certificate can be for the host {host:?}")]
    Host {
        /// As it was given.
        host: String,
    },
    /// The other side does not take part.
    #[error("no TLS handshake within {after:?}")]
    Timeout {
        /// For how long it was waited for.
        after: Duration,
    },
    /// The other side hung up.
    #[error("the server closed the connection instead of a TLS handshake")]
    Closed,
    /// The other side says something else.
    #[error("the server does not speak TLS at this port")]
    NotTls,
    /// The certificate is not good enough.
    #[error("the server's certificate is refused: {0}")]
    Certificate(CertificateProblem),
    /// Anything else.
    #[error("TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// What a server would show is of no use.
    #[error("the server's own certificate or key cannot be used: {problem}")]
    Identity {
        /// What is wrong.
        problem: String,
    },
}

/// What is wrong with a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateProblem {
    /// Nobody who is trusted stands for it.
    #[error("it is signed by nobody who is trusted; its issuer is {issuer:?}")]
    Untrusted {
        /// Its issuer.
        issuer: String,
    },
    /// Too late.
    #[error("{whose} is no longer valid")]
    Expired {
        /// Which certificate.
        whose: &'static str,
    },
    /// Too early.
    #[error("{whose} is not valid yet")]
    NotYetValid {
        /// Which certificate.
        whose: &'static str,
    },
    /// Made in the form of 1988.
    #[error("it is an X.509 certificate of version 1, and only version 3 is accepted")]
    Version,
    /// A key that can be guessed.
    #[error("the RSA key of {whose} has {bits} bits, and 2048 are the least that is accepted")]
    KeySize {
        /// Which certificate.
        whose: &'static str,
        /// Its size.
        bits: usize,
    },
    /// For somebody else.
    #[error("it is for {}, not for {host:?}", names(.presented))]
    Name {
        /// Where we wanted to go.
        host: String,
        /// Whom it is for.
        presented: Vec<String>,
    },
    /// For somebody else, by subject.
    #[error("its subject is {got:?}, wanted {wanted:?}")]
    Subject {
        /// What was asked for.
        wanted: String,
        /// What it has.
        got: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl TlsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Authority { .. } => Some("it is text that begins with -----BEGIN CERTIFICATE-----"),
            Self::NoAuthority => {
                Some("name the authority that signed the server's certificate (QEMU: ca-cert.pem)")
            }
            Self::HostSubject(_) => Some("such as \"C=XL,L=Raleigh,O=Red Hat,CN=192.0.2.1\""),
            Self::Host { .. } => Some("name the host as in its certificate, or give the subject that it has"),
            Self::Timeout { .. } => Some("is this a TLS port, and is its machine process still alive?"),
            Self::Closed | Self::NotTls => {
                Some("is this the plain port? QEMU has TLS on the one that `tls-port=` names")
            }
            Self::Certificate(problem) => problem.hint(),
            Self::Handshake(_) | Self::Identity { .. } => None,
        }
    }
}

impl CertificateProblem {
    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Untrusted { .. } => {
                "give the certificate of the authority that signed it (QEMU: ca-cert.pem in x509-dir)"
            }
            Self::Expired { .. } | Self::NotYetValid { .. } => {
                "make a new certificate for the server, and see that the clocks agree"
            }
            Self::Version => {
                "make the certificate anew with extensions (openssl x509 -req … -extfile FILE with subjectAltName in it)"
            }
            Self::KeySize { .. } => {
                "make the certificate anew with a key of 2048 bits or more, or an ECDSA key"
            }
            Self::Name { .. } => "connect by a name it has, or give the subject that it shall have instead",
            Self::Subject { .. } => "the order and the kinds of the entries count, too",
            Self::Other(_) => return None,
        })
    }
}

/// Takes a connection through a client's handshake.
pub(super) async fn connect(
    socket: TcpStream,
    endpoint: &TlsEndpoint,
    after: Duration,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let wanted = Wanted::of(endpoint)?;
    let authorities = match &endpoint.ca {
        Some(pem) => given_authorities(pem)?,
        None => system_authorities().await?,
    };
    let name = match &wanted {
        Wanted::Host(name, _) => name.clone(),
        // With a subject the name is only for the server to tell its certificates apart; an address tells it nothing.
        Wanted::Subject(_) => server_name(&endpoint.host).unwrap_or(ServerName::from(IpAddr::from([0; 4]))),
    };
    let connector = TlsConnector::from(Arc::new(client_config(authorities, wanted)));
    match timeout(after, connector.connect(name, socket)).await {
        Ok(Ok(stream)) => Ok(stream.into()),
        Ok(Err(error)) => Err(explain(error)),
        Err(_) => Err(TlsError::Timeout { after }),
    }
}

/// Whom a certificate has to be for.
#[derive(Debug)]
enum Wanted {
    /// By the name or address connected to, as rustls and as people write it.
    Host(ServerName<'static>, String),
    Subject(Subject),
}

impl Wanted {
    fn of(endpoint: &TlsEndpoint) -> Result<Self, TlsError> {
        let host = &endpoint.host;
        match &endpoint.host_subject {
            Some(subject) => Subject::parse(subject).map(Self::Subject).map_err(TlsError::HostSubject),
            None => match server_name(host) {
                Some(name) => Ok(Self::Host(name, host.clone())),
                None => Err(TlsError::Host { host: host.clone() }),
            },
        }
    }
}

fn server_name(host: &str) -> Option<ServerName<'static>> {
    // A zone is this system's matter, and so is the dot that says where a name ends.
    let host = host.split('%').next().unwrap_or_default();
    ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned()).ok()
}

fn given_authorities(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let authorities = certificates(pem.as_bytes()).map_err(|problem| TlsError::Authority { problem })?;
    if authorities.len() > MOST_AUTHORITIES {
        let problem = format!("it is {} certificates, limit is {MOST_AUTHORITIES}", authorities.len());
        return Err(TlsError::Authority { problem });
    }
    let mut roots = RootCertStore::empty();
    for authority in &authorities {
        let added = roots.add(authority.clone());
        added.map_err(|error| TlsError::Authority { problem: error.to_string() })?;
    }
    Ok(authorities)
}

/// Those of the first bundle that is there.
async fn system_authorities() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    for path in SYSTEM_AUTHORITIES {
        if let Ok(bundle) = tokio::fs::read(path).await
            && let Ok(authorities) = certificates(&bundle)
        {
            return Ok(authorities);
        }
    }
    Err(TlsError::NoAuthority)
}

/// The certificates in a PEM text, of which there is at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err("there is no certificate in it".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

fn client_config(authorities: Vec<CertificateDer<'static>>, wanted: Wanted) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    // A system's bundle may hold one that cannot be read; those that were given were tried before.
    let _ = roots.add_parsable_certificates(authorities.iter().cloned());
    let algorithms = provider.signature_verification_algorithms;
    let verifier = Arc::new(Verifier { roots, authorities, wanted, algorithms });
    let builder =
        with_versions(ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions());
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    // It is for one connection.
    config.resumption = Resumption::disabled();
    config
}

fn with_versions<T>(builder: Result<T, rustls::Error>) -> T {
    builder.expect("ring has suites for TLS 1.2 and 1.3")
}

/// Decides whether a server is the right one.
#[derive(Debug)]
struct Verifier {
    roots: RootCertStore,
    /// The same as `roots`, whole.
    authorities: Vec<CertificateDer<'static>>,
    wanted: Wanted,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn check(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateProblem> {
        let other = |error: &dyn fmt::Display| CertificateProblem::Other(error.to_string());
        let certificate = Certificate::from_der(shown).map_err(|error| other(&error))?;
        // The library would refuse these, too, but not say why.
        if certificate.tbs_certificate.version == Version::V1 {
            return Err(CertificateProblem::Version);
        }
        check_key("the certificate", &certificate)?;
        let parsed = ParsedCertificate::try_from(shown).map_err(|error| other(&error))?;
        if self.authorities.iter().any(|authority| authority == shown) {
            // Many a server has signed its own certificate: whoever trusts that one by itself needs no chain.
            check_validity(&certificate, now)?;
        } else {
            let chain = verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &self.roots,
                intermediates,
                now,
                self.algorithms.all,
            );
            chain.map_err(|error| self.explain_chain(&error, &certificate, intermediates, now))?;
        }
        match &self.wanted {
            Wanted::Subject(wanted) => check_subject(wanted, &certificate),
            Wanted::Host(name, host) => check_name(name, host, &certificate, &parsed),
        }
    }

    fn explain_chain(
        &self,
        error: &rustls::Error,
        certificate: &Certificate,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> CertificateProblem {
        if let Err(problem) = check_validity(certificate, now) {
            return problem;
        }
        let others = intermediates.iter().chain(&self.authorities);
        for (signer, whose) in
            others.filter_map(|other| Some((Certificate::from_der(other).ok()?, "its issuer")))
        {
            if signer.tbs_certificate.subject == certificate.tbs_certificate.issuer
                && let Err(problem) = check_key(whose, &signer)
            {
                return problem;
            }
        }
        let rustls::Error::InvalidCertificate(error) = error else {
            return CertificateProblem::Other(error.to_string());
        };
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                let issuer = Subject::of(&certificate.tbs_certificate.issuer).to_string();
                CertificateProblem::Untrusted { issuer }
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                CertificateProblem::Expired { whose: "its issuer" }
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                CertificateProblem::NotYetValid { whose: "its issuer" }
            }
            error => CertificateProblem::Other(error.to_string()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = |problem| {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(problem))))
        };
        self.check(end_entity, intermediates, now).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn check_key(whose: &'static str, certificate: &Certificate) -> Result<(), CertificateProblem> {
    let key = certificate.tbs_certificate.subject_public_key_info.to_der().ok();
    // Keys of other kinds have no sizes that are too small.
    match key.and_then(|key| RsaPublicKey::from_public_key_der(&key).ok()).map(|key| key.n().bits()) {
        Some(bits) if bits < LEAST_RSA_BITS => Err(CertificateProblem::KeySize { whose, bits }),
        _ => Ok(()),
    }
}

fn check_validity(certificate: &Certificate, now: UnixTime) -> Result<(), CertificateProblem> {
    let (now, whose) = (Duration::from_secs(now.as_secs()), "it");
    let validity = &certificate.tbs_certificate.validity;
    if now < validity.not_before.to_unix_duration() {
        return Err(CertificateProblem::NotYetValid { whose });
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(CertificateProblem::Expired { whose });
    }
    Ok(())
}

fn check_subject(wanted: &Subject, certificate: &Certificate) -> Result<(), CertificateProblem> {
    let got = Subject::of(&certificate.tbs_certificate.subject);
    match wanted.matches(&got) {
        true => Ok(()),
        false => Err(CertificateProblem::Subject { wanted: wanted.to_string(), got: got.to_string() }),
    }
}

/// By its alternative names; one that has none is for its common name.
fn check_name(
    name: &ServerName<'static>,
    host: &str,
    certificate: &Certificate,
    parsed: &ParsedCertificate<'_>,
) -> Result<(), CertificateProblem> {
    let mut presented = alternative_names(certificate);
    let is_right = if presented.is_empty() {
        let subject = Subject::of(&certificate.tbs_certificate.subject);
        presented.extend(subject.common_name().map(str::to_owned));
        subject.common_name().is_some_and(|common_name| is_for(common_name, name))
    } else {
        verify_server_name(parsed, name).is_ok()
    };
    if is_right { Ok(()) } else { Err(CertificateProblem::Name { host: host.to_owned(), presented }) }
}

fn alternative_names(certificate: &Certificate) -> Vec<String> {
    let names = certificate.tbs_certificate.get::<SubjectAltName>().ok().flatten();
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    let shown = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(address) => Some(match *address.as_bytes() {
            [a, b, c, d] => IpAddr::from([a, b, c, d]).to_string(),
            ref bytes => {
                <[u8; 16]>::try_from(bytes).map_or("?".to_owned(), |bytes| IpAddr::from(bytes).to_string())
            }
        }),
        _ => None,
    });
    shown.collect()
}

fn is_for(common_name: &str, name: &ServerName<'static>) -> bool {
    let ServerName::DnsName(host) = name else {
        let address = common_name.parse::<IpAddr>().ok();
        return address.is_some_and(|address| ServerName::from(address) == *name);
    };
    let host = host.as_ref();
    match common_name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => host.eq_ignore_ascii_case(common_name),
    }
}

fn explain(error: io::Error) -> TlsError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(problem)))) => {
            match problem.downcast_ref::<CertificateProblem>() {
                Some(problem) => TlsError::Certificate(problem.clone()),
                None => TlsError::Handshake(error),
            }
        }
        Some(rustls::Error::InvalidMessage(_)) => TlsError::NotTls,
        None if super::link::is_hang_up(&error) => TlsError::Closed,
        _ => TlsError::Handshake(error),
    }
}

fn names(presented: &[String]) -> String {
    match presented {
        [] => "nobody".to_owned(),
        names => names.join(", "),
    }
}

/// What a server shows its clients: a certificate, those that lead to its authority, and the key. Prints nothing of it.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// Reads PEM: the server's certificate first, then what leads to its authority; and its key.
    ///
    /// # Errors
    /// One of them is none, or they do not belong together.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, TlsError> {
        let unusable = |problem: String| TlsError::Identity { problem };
        let chain = certificates(chain.as_bytes()).map_err(unusable)?;
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = with_versions(builder).with_no_client_auth().with_single_cert(chain, key);
        let mut config = config.map_err(|error| unusable(error.to_string()))?;
        // Nobody comes back to a connection.
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    /// Takes a connection through a server's handshake. The caller has set a deadline.
    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(Arc::clone(&self.0)).accept(socket).await.map(TlsStream::from)
    }
}

/// Where systems keep the authorities they trust.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// What somebody names for one server is a few.
const MOST_AUTHORITIES: usize = 64;
const LEAST_RSA_BITS: usize = 2048;

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use super::*;

    /// Between the making and the end of all that is signed here.
    const NOW: Duration = Duration::from_secs(1_900_000_000);

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../fixtures/tls/", $name, ".pem"))
        };
    }

    /// An authority of the test's own.
    fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), certificate)
    }

    /// A certificate for these names, or for its common name alone.
    fn certificate(common_name: &str, names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Us");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params
    }

    fn signed(params: &CertificateParams, issuer: &Issuer<'static, KeyPair>) -> String {
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().pem()
    }

    /// What is found wrong with the first certificate of `chain`.
    fn check(chain: &str, endpoint: &TlsEndpoint) -> Result<(), CertificateProblem> {
        let authorities = given_authorities(endpoint.ca.as_deref().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let wanted = Wanted::of(endpoint).unwrap();
        let chain = certificates(chain.as_bytes()).unwrap();
        let verifier = Verifier { roots, authorities, wanted, algorithms };
        verifier.check(&chain[0], &chain[1..], UnixTime::since_unix_epoch(NOW))
    }

    fn endpoint(host: &str, ca: &str) -> TlsEndpoint {
        TlsEndpoint { host: host.to_owned(), port: 1, ca: Some(ca.to_owned()), ..TlsEndpoint::default() }
    }

    fn with_subject(host: &str, ca: &str, subject: &str) -> TlsEndpoint {
        TlsEndpoint { host_subject: Some(subject.to_owned()), ..endpoint(host, ca) }
    }

    #[test]
    fn a_certificate_is_for_its_alternative_names_and_else_for_its_common_name() {
        let (issuer, ca) = authority("ours");
        let made = |common_name: &str, names: &[&str]| signed(&certificate(common_name, names), &issuer);
        let named = made("common.example", &["vm.example", "*.wild.example", "192.0.2.1", "2001:db8::1"]);
        let unnamed = made("VM.example", &[]);
        let wild = made("*.example", &[]);
        let address = made("192.0.2.1", &[]);
        for (chain, hosts) in [
            (&named, &["vm.example", "VM.Example.", "a.wild.example", "192.0.2.1", "2001:db8::1%eth0"][..]),
            (&unnamed, &["vm.example"]),
            (&wild, &["vm.example"]),
            (&address, &["192.0.2.1"]),
        ] {
            for host in hosts {
                assert_eq!(check(chain, &endpoint(host, &ca)), Ok(()), "{host}");
            }
        }
        for (chain, hosts) in [
            (&named, &["common.example", "a.b.wild.example", "wild.example", "192.0.2.2"][..]),
            (&unnamed, &["a.vm.example", "192.0.2.1"]),
            (&wild, &["a.b.example", "example"]),
            (&address, &["192.0.2.2", "vm.example"]),
        ] {
            for host in hosts {
                let problem = check(chain, &endpoint(host, &ca)).unwrap_err();
                assert!(matches!(problem, CertificateProblem::Name { .. }), "{host}: {problem}");
            }
        }
        assert_eq!(
            check(&named, &endpoint("other.example", &ca)).unwrap_err().to_string(),
            "it is for vm.example, *.wild.example, 192.0.2.1, 2001:db8::1, not for \"other.example\""
        );
    }

    #[test]
    fn a_host_subject_stands_in_for_the_name_but_not_for_the_signature() {
        let ((issuer, ca), (_, other_ca)) = (authority("ours"), authority("theirs"));
        let chain = signed(&certificate("vm", &["vm.example"]), &issuer);
        assert_eq!(check(&chain, &with_subject("192.0.2.7", &ca, "O=us, CN=VM")), Ok(()));
        let problem = check(&chain, &with_subject("vm.example", &ca, "CN=vm,O=Us")).unwrap_err();
        assert_eq!(problem.to_string(), "its subject is \"O=Us, CN=vm\", wanted \"CN=vm, O=Us\"");
        let problem = check(&chain, &with_subject("vm.example", &other_ca, "O=Us,CN=vm")).unwrap_err();
        assert_eq!(problem.to_string(), "it is signed by nobody who is trusted; its issuer is \"CN=ours\"");
        // Whoever has the name of our authority has not its key.
        let (impostor, _) = authority("ours");
        let chain = signed(&certificate("vm", &["vm.example"]), &impostor);
        let problem = check(&chain, &endpoint("vm.example", &ca)).unwrap_err();
        assert!(matches!(problem, CertificateProblem::Untrusted { .. }), "{problem}");
    }

    #[test]
    fn what_is_out_of_date_or_too_weak_is_named_so() {
        let (issuer, ca) = authority("ours");
        let dated = |from: i32, to: i32| {
            let mut params = certificate("vm", &["vm.example"]);
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
            check(&signed(&params, &issuer), &endpoint("vm.example", &ca))
        };
        assert_eq!(dated(2000, 2100), Ok(()));
        assert_eq!(dated(2000, 2001), Err(CertificateProblem::Expired { whose: "it" }));
        assert_eq!(dated(2090, 2100), Err(CertificateProblem::NotYetValid { whose: "it" }));
        let authority = fixture!("authority");
        let of_fixtures = |chain: &str, ca: &str| check(chain, &endpoint("vm.example", ca));
        assert_eq!(of_fixtures(fixture!("version-1"), authority), Err(CertificateProblem::Version));
        assert_eq!(
            of_fixtures(fixture!("rsa-1024"), authority),
            Err(CertificateProblem::KeySize { whose: "the certificate", bits: 1024 })
        );
        assert_eq!(
            of_fixtures(fixture!("by-weak-authority"), fixture!("weak-authority")),
            Err(CertificateProblem::KeySize { whose: "its issuer", bits: 1024 })
        );
        assert_eq!(of_fixtures(fixture!("no-names"), authority), Ok(()));
        let subject = with_subject("elsewhere", authority, "C=XL,O=Fixtures,CN=vm.example");
        assert_eq!(check(fixture!("no-names"), &subject), Ok(()));
    }

    #[test]
    fn a_server_may_have_signed_its_own_certificate_if_that_very_one_is_trusted() {
        let self_signed = |name: &str| {
            let mut params = certificate(name, &["vm.example"]);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        let (mine, same_name) = (self_signed("vm"), self_signed("vm"));
        assert_eq!(check(&mine, &endpoint("vm.example", &mine)), Ok(()));
        assert!(check(&mine, &endpoint("other.example", &mine)).is_err());
        assert!(check(&mine, &endpoint("vm.example", &same_name)).is_err());
    }

    #[test]
    fn authorities_and_identities_that_are_none_are_told_apart() {
        let text = |error: TlsError| error.to_string();
        assert!(text(given_authorities("").unwrap_err()).ends_with("there is no certificate in it"));
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        assert!(text(given_authorities(broken).unwrap_err()).contains("cannot be used"));
        let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert!(text(given_authorities(empty).unwrap_err()).contains("cannot be used"));
        let (issuer, ca) = authority("ours");
        assert!(
            text(given_authorities(&ca.repeat(65)).unwrap_err()).contains("65 certificates, limit is 64")
        );
        let params = certificate("vm", &["vm.example"]);
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &issuer).unwrap().pem();
        let identity = Identity::from_pem(&chain, &key.serialize_pem()).unwrap();
        assert_eq!(format!("{identity:?}"), "Identity(..)");
        let other = KeyPair::generate().unwrap().serialize_pem();
        for (chain, key) in [(&chain, &other), (&chain, &chain), (&other, &other)] {
            assert!(text(Identity::from_pem(chain, key).unwrap_err()).contains("cannot be used"));
        }
        let no_host = TlsEndpoint { host: "a b".to_owned(), ..TlsEndpoint::default() };
        assert!(matches!(Wanted::of(&no_host), Err(TlsError::Host { .. })));
        assert!(Wanted::of(&with_subject("a b", "", "CN=x")).is_ok());
        assert!(matches!(Wanted::of(&with_subject("a", "", "x")), Err(TlsError::HostSubject(_))));
    }
}
