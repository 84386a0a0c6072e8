//! Connection files (`.vv`), as virt-viewer and its relatives read and write them. Pure: text in, values out, and back.
//! Whoever reads the file obeys [`VvFile::delete_this_file`].
//!
//! The format is GLib's key file: groups in brackets, `key=value`, comments behind `#`, escapes `\s \n \t \r \\`. What
//! this program has no use for is left alone: `version`, `versions` and `newer-version-url`, which are about viewers; hot
//! keys, `fullscreen`, `usb-filter`, `color-depth`, `disable-effects` and the `enable-…`s, which are about windows and
//! devices; later inventions. `username` and `tls-ciphers` are read, so that they can be written again, but not used: SASL
//! is not spoken, and the ciphers of TLS 1.2 and 1.3 that are spoken are all good.

use std::path::PathBuf;

use super::address::{self, AddressError, ConnectionTarget, ProxyUrl, TlsEndpoint};
use super::ticket::Password;
use super::transport::Endpoint;

/// What a connection file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VvFile {
    /// Where to connect to.
    pub target: ConnectionTarget,
    /// Whether whoever reads the file is asked to delete it: the password in it is for one use.
    pub delete_this_file: bool,
}

/// What is wrong with a connection file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is what its message says")]
pub enum VvError {
    #[error("line {line}: neither a group, nor `key=value`, nor a comment")]
    Line { line: usize },
    #[error("line {line}: a key before the first group")]
    NoGroup { line: usize },
    #[error("line {line}: the value ends in the middle of an escape, or has one that is unknown")]
    Escape { line: usize },
    #[error("line {line}")]
    Port { line: usize, source: AddressError },
    #[error("line {line}: `proxy` is no URL of an HTTP proxy")]
    Proxy { line: usize, source: AddressError },
    #[error("line {line}: `delete-this-file` is neither 0 nor 1")]
    Flag { line: usize },
    #[error("line {line}: `unix-path` is not absolute")]
    RelativePath { line: usize },
    #[error("there is no group `[{GROUP}]`")]
    MissingGroup,
    #[error("there is no `type` under `[{GROUP}]`")]
    MissingType,
    #[error("line {line}: `type` is {got:?}, wanted \"spice\"")]
    Type { line: usize, got: String },
    #[error("there is a port and no `host`")]
    NoHost,
    #[error("there is neither `port` nor `tls-port` nor `unix-path`")]
    NoPort,
}

/// Reads a connection file.
///
/// # Errors
///
/// The first thing wrong with it.
pub fn parse(text: &str) -> Result<VvFile, VvError> {
    let mut keys = Keys::default();
    let mut group: Option<&str> = None;
    let mut has_group = false;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let number = index + 1;
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_end().strip_suffix(']').ok_or(VvError::Line { line: number })?;
            has_group |= name == GROUP;
            group = Some(name);
            continue;
        }
        let (key, value) = line.split_once('=').ok_or(VvError::Line { line: number })?;
        match group {
            None => return Err(VvError::NoGroup { line: number }),
            Some(GROUP) => keys.take(number, key.trim_end(), value.trim_start())?,
            Some(_) => {}
        }
    }
    if !has_group {
        return Err(VvError::MissingGroup);
    }
    keys.into_file()
}

/// Writes a connection file for `target`. It holds the password as it is: keep it from others.
pub fn format(target: &ConnectionTarget, delete_this_file: bool) -> String {
    let mut lines = vec![format!("[{GROUP}]"), "type=spice".to_owned()];
    let mut put = |key: &str, value: &str| lines.push(format!("{key}={}", escaped(value)));
    match &target.plain {
        Some(Endpoint::Unix(path)) => put("unix-path", &path.to_string_lossy()),
        Some(Endpoint::Tcp { host, port }) => {
            put("host", host);
            put("port", &port.to_string());
        }
        None => {}
    }
    if let Some(tls) = &target.tls {
        if !matches!(target.plain, Some(Endpoint::Tcp { .. })) {
            put("host", &tls.host);
        }
        put("tls-port", &tls.port.to_string());
        let more = [("ca", &tls.ca), ("host-subject", &tls.host_subject), ("tls-ciphers", &tls.ciphers)];
        more.into_iter().for_each(|(key, value)| put_some(&mut put, key, value.as_deref()));
    }
    put_some(&mut put, "username", target.username.as_deref());
    put_some(&mut put, "password", target.password.as_ref().map(Password::reveal));
    put_some(&mut put, "proxy", target.proxy.as_ref().map(ProxyUrl::reveal).as_deref());
    put_some(&mut put, "title", target.title.as_deref());
    for (key, channels) in
        [("secure-channels", &target.secure_channels), ("disable-channels", &target.disabled_channels)]
    {
        if !channels.is_empty() {
            put(key, &channels.join(";"));
        }
    }
    if delete_this_file {
        put("delete-this-file", "1");
    }
    lines.join("\n") + "\n"
}

fn put_some(put: &mut impl FnMut(&str, &str), key: &str, value: Option<&str>) {
    if let Some(value) = value {
        put(key, value);
    }
}

/// The keys of the group that matter here; of a key that is there twice the last one counts.
#[derive(Default)]
struct Keys {
    kind: Option<(usize, String)>,
    unix_path: Option<PathBuf>,
    host: Option<String>,
    port: Option<u16>,
    tls_port: Option<u16>,
    tls: TlsEndpoint,
    rest: ConnectionTarget,
    delete_this_file: bool,
}

impl Keys {
    fn take(&mut self, line: usize, key: &str, raw: &str) -> Result<(), VvError> {
        let value = || unescaped(raw).ok_or(VvError::Escape { line });
        // An empty value is what writers make of a value they do not have.
        let text = || value().map(|text| Some(text).filter(|text| !text.is_empty()));
        match key {
            "type" => self.kind = Some((line, value()?.trim().to_owned())),
            "unix-path" => {
                self.unix_path = text()?.map(PathBuf::from);
                if self.unix_path.as_ref().is_some_and(|path| !path.has_root()) {
                    return Err(VvError::RelativePath { line });
                }
            }
            "host" => self.host = text()?.map(|host| host.trim().to_owned()),
            "port" => self.port = port(line, "port", &value()?)?,
            "tls-port" => self.tls_port = port(line, "tls-port", &value()?)?,
            "ca" => self.tls.ca = text()?,
            "host-subject" => self.tls.host_subject = text()?,
            "tls-ciphers" => self.tls.ciphers = text()?,
            "username" => self.rest.username = text()?,
            "password" => self.rest.password = text()?.map(Password::from),
            "proxy" => {
                let url = text()?.map(|url| ProxyUrl::parse(&url)).transpose();
                self.rest.proxy = url.map_err(|source| VvError::Proxy { line, source })?;
            }
            "title" => self.rest.title = text()?,
            "secure-channels" => self.rest.secure_channels = list(&value()?),
            "disable-channels" => self.rest.disabled_channels = list(&value()?),
            "delete-this-file" => {
                self.delete_this_file = match raw.trim() {
                    "0" => false,
                    "1" => true,
                    _ => return Err(VvError::Flag { line }),
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn into_file(self) -> Result<VvFile, VvError> {
        let Self { kind, unix_path, host, port, tls_port, tls, rest, delete_this_file } = self;
        match kind {
            None => return Err(VvError::MissingType),
            Some((_, kind)) if kind == "spice" => {}
            Some((line, got)) => return Err(VvError::Type { line, got }),
        }
        let tcp = |port: u16| match &host {
            Some(host) => Ok((host.clone(), port)),
            None => Err(VvError::NoHost),
        };
        let plain = match (unix_path, port) {
            (Some(path), _) => Some(Endpoint::Unix(path)),
            (None, Some(port)) => Some(tcp(port).map(|(host, port)| Endpoint::Tcp { host, port })?),
            (None, None) => None,
        };
        let tls = match tls_port {
            Some(port) => Some(tcp(port).map(|(host, port)| TlsEndpoint { host, port, ..tls })?),
            None => None,
        };
        if plain.is_none() && tls.is_none() {
            return Err(VvError::NoPort);
        }
        Ok(VvFile { target: ConnectionTarget { plain, tls, ..rest }, delete_this_file })
    }
}

fn list(text: &str) -> Vec<String> {
    text.split([';', ',']).map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

/// Reads a port. Nothing, 0 and -1 are how writers say that there is none.
fn port(line: usize, key: &'static str, value: &str) -> Result<Option<u16>, VvError> {
    match value.trim() {
        // The format says: absent, or not above 0.
        text if text.is_empty() || text.parse::<i64>().is_ok_and(|port| port <= 0) => Ok(None),
        text => address::parse_port(key, text).map(Some).map_err(|source| VvError::Port { line, source }),
    }
}

fn unescaped(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw.chars();
    while let Some(one) = rest.next() {
        text.push(match one {
            '\\' => match rest.next()? {
                's' => ' ',
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '\\' => '\\',
                // Inside a list this is a separator that is none.
                ';' => ';',
                _ => return None,
            },
            one => one,
        });
    }
    Some(text)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (index, one) in text.char_indices() {
        match one {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            ' ' if index == 0 => escaped.push_str("\\s"),
            one => escaped.push(one),
        }
    }
    escaped
}

const GROUP: &str = "virt-viewer";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(host: &str, port: u16) -> Option<Endpoint> {
        Some(Endpoint::Tcp { host: host.to_owned(), port })
    }

    #[test]
    fn a_file_of_a_console_proxy_is_read_and_its_decoration_left_alone() {
        let text = "# made for you\r\n[virt-viewer]\r\ntype=spice\r\nhost=console.example\r\nport=5901\r\n\
            tls-port=5900\r\npassword=a\\\\b\\sc\r\ndelete-this-file=1\r\nfullscreen=0\r\n\
            title=vm-1 via proxy\r\ntoggle-fullscreen=shift+f11\r\nenable-usb-autoshare=1\r\n\
            usb-filter=-1,-1,-1,-1,0\r\ntls-ciphers=DEFAULT\r\nca=-----BEGIN\\nMII=\\n\r\n\
            host-subject=C=US,O=Us,CN=us\r\ntitle[de]=Konsole\r\n\r\n[ovirt]\r\nhost=elsewhere\r\n";
        let file = parse(text).unwrap();
        assert!(file.delete_this_file);
        let tls = TlsEndpoint {
            host: "console.example".to_owned(),
            port: 5900,
            ca: Some("-----BEGIN\nMII=\n".to_owned()),
            host_subject: Some("C=US,O=Us,CN=us".to_owned()),
            ciphers: Some("DEFAULT".to_owned()),
        };
        let wanted = ConnectionTarget {
            plain: tcp("console.example", 5901),
            tls: Some(tls),
            password: Some(Password::from("a\\b c".to_owned())),
            title: Some("vm-1 via proxy".to_owned()),
            ..ConnectionTarget::default()
        };
        assert_eq!(file.target, wanted);
    }

    #[test]
    fn the_shortest_files_do() {
        let read = |keys: &str| parse(&format!("[virt-viewer]\ntype=spice\n{keys}")).unwrap().target;
        assert_eq!(read("host = h\nport = 1").plain, tcp("h", 1));
        assert_eq!(read("unix-path=/run/s\nport=-1").plain, Some(Endpoint::Unix("/run/s".into())));
        assert_eq!(read("host=h\nport=1\nport=2").plain, tcp("h", 2));
        let secure = read("host=h\nport=1\nsecure-channels=main;inputs;\nproxy=http://p:1\nusername=me");
        assert_eq!(secure.secure_channels, ["main", "inputs"]);
        assert_eq!(secure.proxy, Some(ProxyUrl::parse("http://p:1").unwrap()));
        assert_eq!(secure.username.as_deref(), Some("me"));
        assert_eq!(
            read("host=h\nport=1\ndisable-channels=cursor;playback").disabled_channels,
            ["cursor", "playback"]
        );
        assert_eq!(read("host=h\nport=0\ntls-port=2").plain, None);
        let tls = read("host=h\ntls-port=2");
        assert!(tls.plain.is_none() && tls.tls.is_some_and(|tls| tls.port == 2));
    }

    #[test]
    fn everything_that_is_no_such_file_is_told_apart() {
        let in_group = |keys: &str| format!("[virt-viewer]\ntype=spice\n{keys}");
        let port = |line, key, got: &str| VvError::Port {
            line,
            source: AddressError::Port { key, got: got.to_owned() },
        };
        let cases = [
            (String::new(), VvError::MissingGroup),
            ("[other]\ntype=spice\n".to_owned(), VvError::MissingGroup),
            ("type=spice\n[virt-viewer]".to_owned(), VvError::NoGroup { line: 1 }),
            ("[virt-viewer\n".to_owned(), VvError::Line { line: 1 }),
            ("\n[virt-viewer]\nnonsense\n".to_owned(), VvError::Line { line: 3 }),
            ("[virt-viewer]\nhost=h\nport=1".to_owned(), VvError::MissingType),
            ("[virt-viewer]\ntype=vnc".to_owned(), VvError::Type { line: 2, got: "vnc".to_owned() }),
            (in_group("host=h"), VvError::NoPort),
            (in_group("port=1"), VvError::NoHost),
            (in_group("tls-port=1"), VvError::NoHost),
            (in_group("host=h\nport=x"), port(4, "port", "x")),
            (in_group("host=h\nport=1\ntls-port=70000"), port(5, "tls-port", "70000")),
            (
                in_group("host=h\nport=1\nproxy=http://me:secret@p:x"),
                VvError::Proxy { line: 5, source: AddressError::Port { key: "port", got: "x".to_owned() } },
            ),
            (in_group("unix-path=run/s"), VvError::RelativePath { line: 3 }),
            (in_group("host=h\nport=1\ndelete-this-file=yes"), VvError::Flag { line: 5 }),
            (in_group("host=h\nport=1\npassword=secret\\"), VvError::Escape { line: 5 }),
            (in_group("host=h\nport=1\npassword=secret\\x"), VvError::Escape { line: 5 }),
        ];
        for (text, wanted) in cases {
            let error = parse(&text).expect_err(&text);
            assert_eq!(error, wanted, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_file_for_a_lane_is_what_viewers_expect() {
        let target = ConnectionTarget {
            plain: Some(Endpoint::Unix("/run/lane/spice.sock".into())),
            password: Some(Password::from(" a\\b".to_owned())),
            title: Some("sextant".to_owned()),
            ..ConnectionTarget::default()
        };
        assert_eq!(
            format(&target, true),
            "[virt-viewer]\ntype=spice\nunix-path=/run/lane/spice.sock\npassword=\\sa\\\\b\ntitle=sextant\n\
             delete-this-file=1\n"
        );
    }

    /// Text without the spaces at its ends, which the format does not carry everywhere.
    fn text() -> impl Strategy<Value = String> {
        "[ -~é\t\n\r\\\\;]{0,12}".prop_map(|text| format!("a{text}z"))
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            is_unix: bool, host in "[a-z0-9.:]{1,12}", port in 1_u16.., tls_port in proptest::option::of(1_u16..),
            ca in proptest::option::of(text()), password in proptest::option::of("[ -~é\t\n\\\\]{1,20}"),
            title in proptest::option::of(text()), delete: bool,
        ) {
            let plain = match is_unix {
                true => Some(Endpoint::Unix(PathBuf::from("/").join(&host))),
                false => tcp(&host, port),
            };
            let tls = tls_port.map(|port| TlsEndpoint { host: host.clone(), port, ca, ..TlsEndpoint::default() });
            let password = password.map(Password::from);
            let target = ConnectionTarget { plain, tls, password, title, ..ConnectionTarget::default() };
            let file = parse(&format(&target, delete)).unwrap();
            prop_assert_eq!(file, VvFile { target, delete_this_file: delete });
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", keys in "(\\[virt-viewer\\]|[a-z=\\\\\n-]|port=|type=spice\n)*") {
            let _ = parse(&text);
            let _ = parse(&keys);
        }
    }
}
