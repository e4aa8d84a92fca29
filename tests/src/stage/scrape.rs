//! A page of one of the operator's own servers.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
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
            let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
            let uri = format!("http://{address}{path}").parse().map_err(io::Error::other)?;
            let answer = client.get(uri).await.map_err(io::Error::other)?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
            Ok(Self { status, text: String::from_utf8(body.into()).map_err(io::Error::other)? })
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
