//! An HTTP proxy on the way to a server: its URL, and the CONNECT that makes a tunnel of it.
//!
//! The proxy looks the server's name up. Its URL may hold a password, which nothing here prints.

use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::{ProxyUrl, authority};
use super::transport::{Endpoint, connect_tcp};

/// Why there is no tunnel.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The proxy itself cannot be reached.
    #[error("connect to the proxy {proxy}")]
    Connect {
        /// Where it should be.
        proxy: Endpoint,
        /// What the system says.
        source: io::Error,
    },
    /// It does not answer.
    #[error("no tunnel through the proxy {proxy} within {after:?}")]
    Timeout {
        /// Where it is.
        proxy: Endpoint,
        /// For how long it was waited for.
        after: Duration,
    },
    /// The connection to it broke.
    #[error("the connection to the proxy {proxy} failed")]
    Io {
        /// Where it is.
        proxy: Endpoint,
        /// How.
        source: io::Error,
    },
    /// It says no.
    #[error("the proxy {proxy} answered {status:?}")]
    Refused {
        /// Where it is.
        proxy: Endpoint,
        /// Its first line.
        status: String,
    },
    /// It says something else.
    #[error("the proxy {proxy} gave no HTTP answer: {problem}")]
    NoHttp {
        /// Where it is.
        proxy: Endpoint,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl ProxyError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Refused { status, .. } if status.contains(" 407 ") => {
                "name user and password in its URL: http://USER:PASSWORD@HOST:PORT"
            }
            Self::Refused { .. } => "does it allow CONNECT to this host and port?",
            _ => "is this an HTTP proxy, and is it running?",
        }
    }
}

/// Opens a tunnel to `host:port`.
pub(super) async fn connect(
    url: &ProxyUrl,
    host: &str,
    port: u16,
    after: Duration,
) -> Result<TcpStream, ProxyError> {
    let proxy = url.endpoint();
    let tunnel = async {
        let connected = connect_tcp(&url.host, url.port).await;
        let mut stream = connected.map_err(|source| ProxyError::Connect { proxy: proxy.clone(), source })?;
        let lost = |source| ProxyError::Io { proxy: proxy.clone(), source };
        stream.write_all(request(url, host, port).as_bytes()).await.map_err(lost)?;
        match answer(&mut stream).await {
            Ok(()) => Ok(stream),
            Err(Answer::Lost(source)) => Err(lost(source)),
            Err(Answer::Refused(status)) => Err(ProxyError::Refused { proxy: proxy.clone(), status }),
            Err(Answer::NoHttp(problem)) => Err(ProxyError::NoHttp { proxy: proxy.clone(), problem }),
        }
    };
    timeout(after, tunnel).await.unwrap_or_else(|_| Err(ProxyError::Timeout { proxy: proxy.clone(), after }))
}

fn request(url: &ProxyUrl, host: &str, port: u16) -> String {
    let place = format!("{}:{port}", authority(host));
    let credentials = url.credentials().map_or(String::new(), |credentials| {
        format!("Proxy-Authorization: Basic {}\r\n", base64(credentials.as_bytes()))
    });
    format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{credentials}\r\n")
}

/// What a proxy may answer instead of making a tunnel.
#[derive(Debug)]
enum Answer {
    Lost(io::Error),
    Refused(String),
    NoHttp(&'static str),
}

/// Reads the answer up to its empty line and not a byte further.
async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), Answer> {
    let mut head = Vec::new();
    // A byte at a time: what follows belongs to the server behind, and this is read once per channel.
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        if head.len() >= MOST_HEAD_BYTES {
            return Err(Answer::NoHttp("its head does not end"));
        }
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !head.is_empty() => {
                return Err(Answer::NoHttp("it ends within its head"));
            }
            Err(error) => return Err(Answer::Lost(error)),
        }
        if !b"HTTP/1.".starts_with(head.get(..7).unwrap_or(&head)) {
            return Err(Answer::NoHttp("it does not begin with HTTP/1."));
        }
    }
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line: String =
        String::from_utf8_lossy(line).chars().filter(|one| !one.is_control()).take(STATUS_SHOWN).collect();
    match line.split(' ').nth(1) {
        Some(code) if code.len() == 3 && code.starts_with('2') => Ok(()),
        _ => Err(Answer::Refused(line)),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * at) & 63];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.endpoint())
    }
}

/// Proxies that say more have gone astray.
const MOST_HEAD_BYTES: usize = 16 * 1024;
const STATUS_SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_names_the_server_and_the_user() {
        let url = ProxyUrl::parse("http://me:se%20cret@proxy").unwrap();
        assert_eq!(
            request(&url, "::1", 5900),
            "CONNECT [::1]:5900 HTTP/1.1\r\nHost: [::1]:5900\r\nProxy-Authorization: Basic bWU6c2UgY3JldA==\r\n\r\n"
        );
        let url = ProxyUrl::parse("http://proxy:1").unwrap();
        assert_eq!(request(&url, "vm", 1), "CONNECT vm:1 HTTP/1.1\r\nHost: vm:1\r\n\r\n");
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, wanted) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{7f}>?", "fz4/"),
        ] {
            assert_eq!(base64(plain.as_bytes()), wanted, "{plain}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_taken_up_to_its_empty_line_and_no_further() {
        let judge = async |text: &[u8]| {
            let (mut near, mut far) = tokio::io::duplex(64 * 1024);
            far.write_all(text).await.unwrap();
            drop(far);
            let result = answer(&mut near).await;
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.unwrap();
            (result, rest)
        };
        for good in ["HTTP/1.1 200 OK\r\nVia: us\r\n\r\n", "HTTP/1.0 299\r\n\r\n", "HTTP/1.1 200 OK\n\n"] {
            let (result, rest) = judge(format!("{good}REDQ").as_bytes()).await;
            assert!(result.is_ok(), "{good:?}: {result:?}");
            assert_eq!(rest, b"REDQ");
        }
        let endless = [b"HTTP/1.1 200 OK\r\n".as_slice(), &[b'x'; 20 * 1024]].concat();
        for (bad, wanted) in [
            (b"HTTP/1.1 407 Who are you\x07\r\n\r\n".as_slice(), "Refused(\"HTTP/1.1 407 Who are you\")"),
            (b"HTTP/1.1\r\n\r\n", "Refused(\"HTTP/1.1\")"),
            (b"REDQ", "NoHttp(\"it does not begin with HTTP/1.\")"),
            (b"HTTP/1.1 200", "NoHttp(\"it ends within its head\")"),
            (&endless, "NoHttp(\"its head does not end\")"),
            (b"", "Lost("),
        ] {
            let error = format!("{:?}", judge(bad).await.0.unwrap_err());
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}
