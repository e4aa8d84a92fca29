//! A page of one of the operator's own servers.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A page as it was answered.
#[derive(Clone, Debug)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// The text.
    pub text: String,
}

impl Page {
    /// Asks for a page on loopback.
    pub(super) async fn get(address: &str, path: &str) -> io::Result<Self> {
        let asked = async {
            let mut stream = TcpStream::connect(address).await?;
            let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let (head, text) =
                answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("an answer without a head"))?;
            let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
            let status = status.ok_or_else(|| io::Error::other("an answer without a status"))?;
            Ok(Self { status, text: text.to_owned() })
        };
        timeout(LIMIT, asked).await.map_err(|_| io::Error::other("no answer in time"))?
    }

    /// The value of a series: its name with all labels, as the page has it.
    pub fn value(&self, series: &str) -> Option<f64> {
        let line = self.text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.split(' ').next()?.parse().ok()
    }

    /// The sum over all series of a name.
    pub fn sum(&self, name: &str) -> f64 {
        let values = self.text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            (rest.starts_with(' ') || rest.starts_with('{'))
                .then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        values.sum()
    }
}

/// Pages are small and made at once.
const LIMIT: Duration = Duration::from_secs(10);
