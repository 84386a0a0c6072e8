//! Addresses of consoles as people write them. Pure: text in, a [`ConnectionTarget`] out; nothing is looked up or
//! opened.
//!
//! Start reading at [`parse`]. Files that say the same are read by [`super::vv`]. An error never quotes a value that
//! may be a password.

use std::fmt;
use std::path::PathBuf;

use super::ticket::Password;
use super::transport::Endpoint;
use super::wire::link::ChannelType;
use crate::near::nearest;

/// Where a console is served, and what it takes to get in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionTarget {
    /// The plain endpoint, if one is offered.
    pub plain: Option<Endpoint>,
    /// The TLS endpoint, if one is offered.
    pub tls: Option<TlsEndpoint>,
    /// The ticket.
    pub password: Option<Password>,
    /// The name for SASL. Tickets need none, and SASL is not spoken, so it is not used.
    pub username: Option<String>,
    /// Channels that must not be opened in plain; `all` stands for all of them.
    pub secure_channels: Vec<String>,
    /// Channels that must not be opened.
    pub disabled_channels: Vec<String>,
    /// The HTTP proxy on the way to a TCP port.
    pub proxy: Option<ProxyUrl>,
    /// What people call it.
    pub title: Option<String>,
}

/// A port that speaks TLS, and how to know the right server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsEndpoint {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Trusted certificates, PEM.
    pub ca: Option<String>,
    /// The subject that the server's certificate must have.
    pub host_subject: Option<String>,
    /// Allowed ciphers, in OpenSSL's words.
    pub ciphers: Option<String>,
}

/// Why a target cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A channel is reserved for a port that is not there.
    #[error("`secure-channels` demands TLS for {channel}, and no TLS port is given")]
    SecureChannel {
        /// As it was written.
        channel: String,
    },
    /// The channel that everything hangs on.
    #[error("`disable-channels` forbids the main channel")]
    MainDisabled,
    /// Nothing to connect to.
    #[error("no port is offered")]
    NoPort,
}

impl TargetError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::SecureChannel { .. } => "name the TLS port, `tls-port`, as well",
            Self::MainDisabled => "take `main` off the list",
            Self::NoPort => "name a host with its port, or a unix socket",
        }
    }
}

impl From<Endpoint> for ConnectionTarget {
    fn from(endpoint: Endpoint) -> Self {
        Self { plain: Some(endpoint), ..Self::default() }
    }
}

impl ConnectionTarget {
    /// Checks that there is a way for every channel that a console needs.
    ///
    /// # Errors
    ///
    /// The message names the key that makes it impossible.
    pub fn check(&self) -> Result<(), TargetError> {
        if self.is_disabled(ChannelType::MAIN) {
            return Err(TargetError::MainDisabled);
        }
        let needed = [ChannelType::MAIN, ChannelType::DISPLAY, ChannelType::INPUTS, ChannelType::CURSOR];
        let mut opened = needed.into_iter().filter(|channel| !self.is_disabled(*channel));
        opened.try_for_each(|channel| self.begins_with_tls(channel).map(drop))
    }

    /// Whether a channel is tried at the TLS port at first, rather than at the plain one.
    ///
    /// # Errors
    ///
    /// There is no port that will do.
    pub fn begins_with_tls(&self, channel: ChannelType) -> Result<bool, TargetError> {
        match (self.demands_tls(channel), &self.plain, &self.tls) {
            (None, Some(_), _) => Ok(false),
            (_, _, Some(_)) => Ok(true),
            (Some(channel), Some(_), None) => Err(TargetError::SecureChannel { channel: channel.to_owned() }),
            (_, None, None) => Err(TargetError::NoPort),
        }
    }

    /// Returns the entry of `secure-channels` that covers a channel, if there is one.
    pub fn demands_tls(&self, channel: ChannelType) -> Option<&str> {
        let covers = |entry: &&String| *entry == "all" || is_name_of(entry, channel);
        self.secure_channels.iter().find(covers).map(String::as_str)
    }

    /// Whether a channel must not be opened.
    pub fn is_disabled(&self, channel: ChannelType) -> bool {
        self.disabled_channels.iter().any(|entry| is_name_of(entry, channel))
    }

    /// Returns the address as a URI, without the password; `None` when there is no port at all.
    pub fn to_uri(&self) -> Option<String> {
        match (&self.plain, &self.tls) {
            (Some(Endpoint::Unix(path)), _) => {
                Some(format!("spice+unix://{}", percent_encoded(&path.to_string_lossy())))
            }
            (Some(Endpoint::Tcp { host, port }), None) => Some(format!("spice://{}:{port}", authority(host))),
            (Some(Endpoint::Tcp { host, port }), Some(tls)) => {
                Some(format!("spice://{}?port={port}&tls-port={}", authority(host), tls.port))
            }
            (None, Some(tls)) => Some(format!("spice://{}?tls-port={}", authority(&tls.host), tls.port)),
            (None, None) => None,
        }
    }
}

/// Old servers write `smain` for `main`.
fn is_name_of(entry: &str, channel: ChannelType) -> bool {
    let name = channel.to_string();
    entry == name || entry.strip_prefix('s') == Some(&*name)
}

/// The URL of an HTTP proxy. Prints without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `USER:PASSWORD`.
    credentials: Option<Password>,
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyUrl").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl ProxyUrl {
    /// Where proxies listen that do not say.
    const PORT: u16 = 3128;

    /// Reads `[http://][USER:PASSWORD@]HOST[:PORT]`. `%` escapes stand for what they encode.
    ///
    /// # Errors
    ///
    /// The first thing wrong with it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(AddressError::Scheme { scheme: shown_scheme(scheme), near: Some("http") });
        }
        let offset = text.len() - rest.len();
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(percent_decoded(credentials, offset)?), place),
            None => (None, rest),
        };
        let place = percent_decoded(place, text.len() - place.len())?;
        let (host, port) = host_and_port(place.strip_suffix('/').unwrap_or(&place))?;
        let port = port.map_or(Ok(Self::PORT), |port| parse_port("port", port))?;
        Ok(Self { host: host.to_owned(), port, credentials: credentials.map(Password::from) })
    }

    /// Returns the URL with user and password.
    pub(super) fn reveal(&self) -> String {
        let credentials = self.credentials().map_or(String::new(), |credentials| {
            let encoded = |text| percent_encoded(text).replace('/', "%2F");
            match credentials.split_once(':') {
                Some((user, password)) => format!("{}:{}@", encoded(user), encoded(password)),
                None => format!("{}@", encoded(credentials)),
            }
        });
        format!("http://{credentials}{}:{}", authority(&self.host), self.port)
    }

    pub(super) fn credentials(&self) -> Option<&str> {
        self.credentials.as_ref().map(Password::reveal)
    }

    /// Where the proxy itself is.
    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::Tcp { host: self.host.clone(), port: self.port }
    }
}

/// Why an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is nothing.
    #[error("the address is empty")]
    Empty,
    /// The beginning is that of something else.
    #[error("unknown scheme `{scheme}://`{}", near.map(|near| format!(", did you mean `{near}://`?")).unwrap_or_default())]
    Scheme {
        /// What stands before `://`.
        scheme: String,
        /// The nearest known one.
        near: Option<&'static str>,
    },
    /// No name before the port.
    #[error("the address names no host")]
    NoHost,
    /// A name without a port.
    #[error("the address names no port")]
    NoPort,
    /// A port that is none.
    #[error("`{key}` is {got:?}, wanted 1 to 65535")]
    Port {
        /// `port` or `tls-port`.
        key: &'static str,
        /// What was written.
        got: String,
    },
    /// Said twice.
    #[error("`{key}` is given twice")]
    Twice {
        /// The key.
        key: &'static str,
    },
    /// Several colons without brackets.
    #[error("an IPv6 address without brackets")]
    BareIpv6,
    /// A bracket without its partner, or what is in them is no address.
    #[error("no IPv6 address in brackets")]
    Brackets,
    /// `user@` or `user:password@`.
    #[error("the address holds user information before `@`")]
    UserInfo,
    /// A character that no host name has.
    #[error("the host name holds {got:?}")]
    HostCharacter {
        /// The first one.
        got: char,
    },
    /// Something behind the port.
    #[error("the address of a TCP port goes on with a path")]
    Path,
    /// A socket whose path does not begin at the root.
    #[error("the path of the socket is not absolute")]
    RelativePath,
    /// A query key that is not known.
    #[error("unknown key `{key}`{}", near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default())]
    Key {
        /// The key, without its value.
        key: String,
        /// The nearest known one.
        near: Option<&'static str>,
    },
    /// A NUL in the path, which no file can have.
    #[error("the path of the socket holds a NUL character")]
    Nul,
    /// A part of the query that is no `key=value`.
    #[error("a part of the query has no `=`")]
    NoValue,
    /// A `%` that is not followed by two hexadecimal digits, or what comes out is no UTF-8 or holds a NUL.
    #[error("a `%` escape is wrong at character {at}")]
    Escape {
        /// Counted from 1.
        at: usize,
    },
}

impl AddressError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::BareIpv6 | Self::Brackets => "write an IPv6 address in brackets: `[::1]:5900`",
            Self::UserInfo => "a ticket needs no user name: `spice://HOST:PORT?password=…`",
            Self::RelativePath => "three slashes: `spice+unix:///run/spice.sock`",
            Self::Key { .. } | Self::NoValue => "known keys: password, port, tls-port",
            _ => FORMS,
        }
    }
}

/// Reads an address: `HOST:PORT`, `[ADDRESS]:PORT`, `spice://HOST[:PORT][?port=…&tls-port=…&password=…]`,
/// `spice+tls://HOST:PORT[?password=…]` or `spice+unix:///PATH[?password=…]`. In URIs `%` escapes stand for what they
/// encode.
///
/// # Errors
///
/// The first thing wrong with it.
pub fn parse(text: &str) -> Result<ConnectionTarget, AddressError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return tcp(text, Query::default());
    };
    let offset = text.len() - rest.len();
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Query::parse(query, offset + place.len() + 1)?),
        None => (rest, Query::default()),
    };
    let place = percent_decoded(place, offset)?;
    match scheme.to_ascii_lowercase().as_str() {
        "spice" => tcp(place.strip_suffix('/').unwrap_or(&place), query),
        "spice+tls" => tls(place.strip_suffix('/').unwrap_or(&place), query),
        "spice+unix" => unix(place, query),
        other => Err(AddressError::Scheme { scheme: shown_scheme(other), near: nearest(other, SCHEMES) }),
    }
}

/// Returns an address as it was written, but for the password in it.
pub fn without_password(text: &str) -> String {
    let Some((place, query)) = text.split_once('?') else { return text.to_owned() };
    let shown = |part: &'_ str| {
        if part.starts_with("password=") { "password=…".to_owned() } else { part.to_owned() }
    };
    format!("{place}?{}", query.split('&').map(shown).collect::<Vec<_>>().join("&"))
}

fn tcp(place: &str, query: Query) -> Result<ConnectionTarget, AddressError> {
    let (host, port) = host_and_port(place)?;
    let written = port.map(|port| parse_port("port", port)).transpose()?;
    if written.is_some() && query.port.is_some() {
        return Err(AddressError::Twice { key: "port" });
    }
    let host = host.to_owned();
    let plain = written.or(query.port).map(|port| Endpoint::Tcp { host: host.clone(), port });
    let tls = query.tls_port.map(|port| TlsEndpoint { host, port, ..TlsEndpoint::default() });
    if plain.is_none() && tls.is_none() {
        return Err(AddressError::NoPort);
    }
    Ok(ConnectionTarget { plain, tls, password: query.password, ..ConnectionTarget::default() })
}

/// The port is the TLS port, and there is no other.
fn tls(place: &str, query: Query) -> Result<ConnectionTarget, AddressError> {
    let (host, port) = host_and_port(place)?;
    if query.port.is_some() {
        return Err(AddressError::Key { key: "port".to_owned(), near: None });
    }
    let written = port.map(|port| parse_port("port", port)).transpose()?;
    if written.is_some() && query.tls_port.is_some() {
        return Err(AddressError::Twice { key: "tls-port" });
    }
    let port = written.or(query.tls_port).ok_or(AddressError::NoPort)?;
    let tls = Some(TlsEndpoint { host: host.to_owned(), port, ..TlsEndpoint::default() });
    Ok(ConnectionTarget { tls, password: query.password, ..ConnectionTarget::default() })
}

fn unix(path: String, query: Query) -> Result<ConnectionTarget, AddressError> {
    let misplaced = [("port", query.port), ("tls-port", query.tls_port)];
    if let Some((key, _)) = misplaced.iter().find(|(_, port)| port.is_some()) {
        return Err(AddressError::Key { key: (*key).to_owned(), near: None });
    }
    if !path.starts_with('/') {
        return Err(AddressError::RelativePath);
    }
    if path.contains('\0') {
        return Err(AddressError::Nul);
    }
    let plain = Some(Endpoint::Unix(PathBuf::from(path)));
    Ok(ConnectionTarget { plain, password: query.password, ..ConnectionTarget::default() })
}

/// Takes a host and what may be a port apart, and checks the host.
fn host_and_port(place: &str) -> Result<(&str, Option<&str>), AddressError> {
    if place.contains('@') {
        return Err(AddressError::UserInfo);
    }
    if place.contains('/') {
        return Err(AddressError::Path);
    }
    let (host, port) = split_port(place)?;
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    // A zone behind a numeric address, which alone has colons, begins with `%`.
    let known = if host.contains(':') { ".-_:%" } else { ".-_" };
    match host.chars().find(|one| !(one.is_alphanumeric() || known.contains(*one))) {
        Some(got) => Err(AddressError::HostCharacter { got }),
        None => Ok((host, port)),
    }
}

fn shown_scheme(scheme: &str) -> String {
    scheme.chars().filter(char::is_ascii_graphic).take(SCHEME_SHOWN).collect()
}

/// Splits `HOST:PORT` and `[ADDRESS]:PORT`; the brackets are taken off.
fn split_port(place: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(inner) = place.strip_prefix('[') {
        let (address, rest) = inner.split_once(']').ok_or(AddressError::Brackets)?;
        // A zone, as in `fe80::1%eth0`, is the system's matter. The address itself is a value, which `core` can read.
        let numeric = address.split('%').next().unwrap_or_default();
        if numeric.parse::<core::net::Ipv6Addr>().is_err() {
            return Err(AddressError::Brackets);
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((address, Some(port))),
            None if rest.is_empty() => Ok((address, None)),
            None => Err(AddressError::Brackets),
        };
    }
    match place.split_once(':') {
        None => Ok((place, None)),
        Some((_, rest)) if rest.contains(':') => Err(AddressError::BareIpv6),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

/// Reads a port. Signs and spaces are no part of one.
pub(super) fn parse_port(key: &'static str, text: &str) -> Result<u16, AddressError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| is_number && *port > 0);
    port.ok_or_else(|| AddressError::Port { key, got: text.chars().take(PORT_SHOWN).collect() })
}

/// What stands behind the `?`.
#[derive(Default)]
struct Query {
    port: Option<u16>,
    tls_port: Option<u16>,
    password: Option<Password>,
}

impl Query {
    /// `offset` is where `text` begins in the address.
    fn parse(text: &str, offset: usize) -> Result<Self, AddressError> {
        let mut query = Self::default();
        let mut at = offset;
        for part in text.split('&') {
            let (start, end) = (at, at + part.len());
            at = end + 1;
            if part.is_empty() {
                continue;
            }
            let (key, value) = part.split_once('=').ok_or(AddressError::NoValue)?;
            let value = percent_decoded(value, start + key.len() + 1)?;
            let is_new = match key {
                "port" => query.port.replace(parse_port("port", &value)?).is_none(),
                "tls-port" => query.tls_port.replace(parse_port("tls-port", &value)?).is_none(),
                "password" => query.password.replace(Password::from(value)).is_none(),
                key => {
                    let shown = key.chars().filter(char::is_ascii_graphic).take(SCHEME_SHOWN).collect();
                    return Err(AddressError::Key { key: shown, near: nearest(key, KEYS) });
                }
            };
            if !is_new {
                let key = KEYS.into_iter().find(|known| *known == key).unwrap_or("password");
                return Err(AddressError::Twice { key });
            }
        }
        Ok(query)
    }
}

/// Resolves `%` escapes. `offset` is where `text` begins in the address.
fn percent_decoded(text: &str, offset: usize) -> Result<String, AddressError> {
    let wrong = |at: usize| AddressError::Escape { at: offset + at + 1 };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = behind;
            continue;
        }
        let at = text.len() - rest.len();
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.filter(|byte| *byte != 0).ok_or_else(|| wrong(at))?);
        rest = behind.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| wrong(text.find('%').unwrap_or(0)))
}

/// Writes a path as it stands in a URI.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
        encoded
    })
}

/// A host as it stands in a URI.
pub(super) fn authority(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{}]", host.replace('%', "%25")),
        false => host.to_owned(),
    }
}

const SCHEMES: [&str; 3] = ["spice", "spice+tls", "spice+unix"];
const KEYS: [&str; 3] = ["port", "tls-port", "password"];
const FORMS: &str = "known forms: HOST:PORT, spice://HOST:PORT, spice://HOST?port=…&tls-port=…&password=…, \
                     spice+tls://HOST:PORT, spice+unix:///PATH";
const SCHEME_SHOWN: usize = 20;
const PORT_SHOWN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp_at(host: &str, port: u16) -> ConnectionTarget {
        let plain = Some(Endpoint::Tcp { host: host.to_owned(), port });
        ConnectionTarget { plain, ..ConnectionTarget::default() }
    }

    fn socket(path: &str) -> ConnectionTarget {
        ConnectionTarget { plain: Some(Endpoint::Unix(path.into())), ..ConnectionTarget::default() }
    }

    fn with_password(target: ConnectionTarget, password: &str) -> ConnectionTarget {
        ConnectionTarget { password: Some(Password::from(password.to_owned())), ..target }
    }

    fn tls_at(host: &str, port: u16) -> Option<TlsEndpoint> {
        Some(TlsEndpoint { host: host.to_owned(), port, ..TlsEndpoint::default() })
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        let cases = [
            ("localhost:5900", tcp_at("localhost", 5900)),
            ("  10.0.0.7:1\n", tcp_at("10.0.0.7", 1)),
            ("[::1]:65535", tcp_at("::1", 65535)),
            ("[fe80::1%eth0]:5900", tcp_at("fe80::1%eth0", 5900)),
            ("spice://host:5900", tcp_at("host", 5900)),
            ("SPICE://host:5900/", tcp_at("host", 5900)),
            ("spice://[::1]?port=5900", tcp_at("::1", 5900)),
            ("spice://[fe80::1%25eth0]:5900", tcp_at("fe80::1%eth0", 5900)),
            ("spice://host?port=5900&", tcp_at("host", 5900)),
            (
                "spice://host:5900?tls-port=5901",
                ConnectionTarget { tls: tls_at("host", 5901), ..tcp_at("host", 5900) },
            ),
            (
                "spice://host?tls-port=5901",
                ConnectionTarget { tls: tls_at("host", 5901), ..ConnectionTarget::default() },
            ),
            (
                "spice+tls://host:5901",
                ConnectionTarget { tls: tls_at("host", 5901), ..ConnectionTarget::default() },
            ),
            (
                "spice+tls://[::1]?tls-port=5901&password=x",
                with_password(
                    ConnectionTarget { tls: tls_at("::1", 5901), ..ConnectionTarget::default() },
                    "x",
                ),
            ),
            (
                "spice://host?port=5900&password=a%26b%20%C3%A9+",
                with_password(tcp_at("host", 5900), "a&b é+"),
            ),
            ("spice+unix:///run/a%20b.sock", socket("/run/a b.sock")),
            ("spice+unix:///s?password=", with_password(socket("/s"), "")),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn everything_that_is_no_address_is_told_apart() {
        let port = |got: &str| AddressError::Port { key: "port", got: got.to_owned() };
        let cases = [
            ("", AddressError::Empty),
            (" \n", AddressError::Empty),
            ("host", AddressError::NoPort),
            ("spice://host", AddressError::NoPort),
            (":5900", AddressError::NoHost),
            ("spice://", AddressError::NoHost),
            ("host:", port("")),
            ("host:0", port("0")),
            ("host:65536", port("65536")),
            ("host:+1", port("+1")),
            ("host:59 00", port("59 00")),
            ("spice://host?port=x", port("x")),
            ("spice://host?tls-port=-1", AddressError::Port { key: "tls-port", got: "-1".to_owned() }),
            ("spice://host:1?port=2", AddressError::Twice { key: "port" }),
            ("spice://host?tls-port=1&tls-port=2", AddressError::Twice { key: "tls-port" }),
            ("spice://host:1?password=a&password=b", AddressError::Twice { key: "password" }),
            ("::1:5900", AddressError::BareIpv6),
            ("[::1:5900", AddressError::Brackets),
            ("[::1]5900", AddressError::Brackets),
            ("[host]:5900", AddressError::Brackets),
            ("spice://user:secret@host:5900", AddressError::UserInfo),
            ("spice://host:5900/console", AddressError::Path),
            ("/run/spice.sock", AddressError::Path),
            ("a host:5900", AddressError::HostCharacter { got: ' ' }),
            ("a%host:5900", AddressError::HostCharacter { got: '%' }),
            ("ho\u{7}st:5900", AddressError::HostCharacter { got: '\u{7}' }),
            ("spice+unix://run/s", AddressError::RelativePath),
            ("spice+unix:///run/s\0", AddressError::Nul),
            ("spice+tls://host", AddressError::NoPort),
            ("spice+tls://host:1?port=2", AddressError::Key { key: "port".to_owned(), near: None }),
            ("spice+tls://host:1?tls-port=2", AddressError::Twice { key: "tls-port" }),
            ("spice+tls://user:secret@host:1", AddressError::UserInfo),
            ("spice+unix:///s?port=1", AddressError::Key { key: "port".to_owned(), near: None }),
            (
                "spice://host:1?pasword=x",
                AddressError::Key { key: "pasword".to_owned(), near: Some("password") },
            ),
            ("spice://host:1?secret", AddressError::NoValue),
            ("spcie://host:1", AddressError::Scheme { scheme: "spcie".to_owned(), near: Some("spice") }),
            ("vnc://host:1", AddressError::Scheme { scheme: "vnc".to_owned(), near: None }),
            ("spice://host:1?password=%4", AddressError::Escape { at: 25 }),
            ("spice+unix:///a%zz", AddressError::Escape { at: 16 }),
            ("spice+unix:///a%00", AddressError::Escape { at: 16 }),
            ("spice+unix:///a%ff", AddressError::Escape { at: 16 }),
        ];
        for (text, wanted) in cases {
            let error = parse(text).expect_err(text);
            assert_eq!(error, wanted, "{text}");
            assert!(!error.to_string().contains("secret") && !error.hint().is_empty(), "{error}");
        }
    }

    #[test]
    fn a_password_is_in_no_debug_output() {
        let target = parse("spice://host:5900?password=hunter2").unwrap();
        assert!(!format!("{target:?}").contains("hunter2"), "{target:?}");
        assert_eq!(target.to_uri().unwrap(), "spice://host:5900");
        for (written, shown) in [
            ("spice://h?port=1&password=hunter2&tls-port=2", "spice://h?port=1&password=…&tls-port=2"),
            ("spice+unix:///s?password=hunter2", "spice+unix:///s?password=…"),
            ("h:1", "h:1"),
        ] {
            assert_eq!(without_password(written), shown);
        }
    }

    #[test]
    fn each_channel_begins_at_the_port_it_must() {
        let both = parse("spice://host:1?tls-port=2").unwrap();
        let with = |target: &ConnectionTarget, channels: &[&str]| ConnectionTarget {
            secure_channels: channels.iter().map(|&channel| channel.to_owned()).collect(),
            ..target.clone()
        };
        let ways = |target: &ConnectionTarget| {
            [ChannelType::MAIN, ChannelType::INPUTS, ChannelType(5)].map(|one| target.begins_with_tls(one))
        };
        assert_eq!(ways(&both), [Ok(false), Ok(false), Ok(false)]);
        assert_eq!(ways(&with(&both, &["inputs"])), [Ok(false), Ok(true), Ok(false)]);
        assert_eq!(ways(&with(&both, &["smain", "playback"])), [Ok(true), Ok(false), Ok(true)]);
        assert_eq!(ways(&with(&both, &["all"])), [Ok(true), Ok(true), Ok(true)]);
        let only_tls = parse("spice+tls://host:2").unwrap();
        assert_eq!(ways(&only_tls), [Ok(true), Ok(true), Ok(true)]);
        assert_eq!(only_tls.check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_named_by_its_key() {
        let plain = |secure: &[&str], disabled: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
            let (secure_channels, disabled_channels) = (owned(secure), owned(disabled));
            ConnectionTarget { secure_channels, disabled_channels, ..tcp_at("host", 1) }.check()
        };
        for channel in ["main", "display", "sinputs", "all"] {
            let wanted = TargetError::SecureChannel { channel: channel.to_owned() };
            assert_eq!(plain(&["playback", channel], &[]), Err(wanted));
        }
        assert_eq!(plain(&["playback", "usbredir"], &["playback", "cursor"]), Ok(()));
        assert_eq!(plain(&["inputs"], &["inputs"]), Ok(()), "what is not opened needs no port");
        assert_eq!(plain(&[], &["main"]), Err(TargetError::MainDisabled));
        assert_eq!(ConnectionTarget::default().check(), Err(TargetError::NoPort));
    }

    #[test]
    fn a_proxy_is_a_host_with_a_port_and_perhaps_a_user() {
        for (text, host, port, credentials, written) in [
            ("http://proxy", "proxy", 3128, None, "http://proxy:3128"),
            ("proxy:8080/", "proxy", 8080, None, "http://proxy:8080"),
            ("HTTP://[::1]:1", "::1", 1, None, "http://[::1]:1"),
            ("http://me:a%40b%2Fc@p:1", "p", 1, Some("me:a@b/c"), "http://me:a%40b%2Fc@p:1"),
            ("me@p", "p", 3128, Some("me"), "http://me@p:3128"),
        ] {
            let url = ProxyUrl::parse(text).unwrap();
            assert_eq!((&*url.host, url.port, url.credentials()), (host, port, credentials), "{text}");
            assert_eq!(url.reveal(), written);
            assert_eq!(ProxyUrl::parse(written), Ok(url.clone()));
            assert!(!format!("{url:?}").contains("me"), "{url:?}");
        }
        let scheme = AddressError::Scheme { scheme: "https".to_owned(), near: Some("http") };
        for (text, wanted) in [
            ("https://proxy", scheme),
            ("http://", AddressError::NoHost),
            ("http://proxy:0", AddressError::Port { key: "port", got: "0".to_owned() }),
            ("http://proxy/path", AddressError::Path),
            ("http://me:%zz@proxy", AddressError::Escape { at: 11 }),
        ] {
            assert_eq!(ProxyUrl::parse(text), Err(wanted), "{text}");
        }
    }

    #[test]
    fn a_uri_that_is_written_reads_the_same() {
        for text in [
            "spice://host:5900",
            "spice://[::1]:5900",
            "spice://[fe80::1%25eth0]:5900",
            "spice://host?tls-port=5901",
            "spice://host?port=5900&tls-port=5901",
            "spice+unix:///run/a%20%25%3Fb.sock",
        ] {
            let target = parse(text).unwrap();
            assert_eq!(target.to_uri().as_deref(), Some(text));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", uri in "spice(\\+unix|\\+tls)?://[a-z%0-9\\[\\]:/?&=@é]*") {
            let _ = parse(&text);
            let _ = parse(&uri);
            let _ = ProxyUrl::parse(&text);
        }
    }
}
