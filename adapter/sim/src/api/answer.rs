//! An answer on its way out.
//!
//! Answers: how results, refusals and watches become HTTP. Refuses to know: how they came about.
//! Upholds: a refusal is always a `Status`; a watch sends one event per line and per frame.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use super::request::Unread;
use super::{Delivery, Faults, Request, whole};
use crate::error::StoreError;
use crate::watch::Watch;

/// What goes back to the client.
#[derive(Debug)]
pub(super) enum Answer {
    /// One JSON value.
    Json(u16, Bytes),
    /// A stream of events.
    Stream(Box<Watch>),
}

impl Answer {
    pub(super) fn json(code: u16, value: &Value) -> Self {
        Self::written(code, value)
    }

    pub(super) fn written(code: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(text) => Self::Json(code, Bytes::from(text)),
            Err(error) => Self::Json(500, Bytes::from(error.to_string())),
        }
    }

    pub(super) fn code(&self) -> u16 {
        match self {
            Self::Json(code, _) => *code,
            Self::Stream(_) => 200,
        }
    }

    pub(super) fn into_response(
        self,
        request: &Request,
        faults: &Arc<dyn Faults>,
    ) -> Response<UnsyncBoxBody<Bytes, io::Error>> {
        match self {
            Self::Json(code, bytes) => response(code, whole(bytes)),
            Self::Stream(watch) => response(200, events(*watch, request.clone(), faults.clone())),
        }
    }
}

impl Unread {
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::NoPath => 404,
            Self::Refused(refusal) => refusal.code,
        }
    }

    pub(super) fn into_response(self) -> Response<UnsyncBoxBody<Bytes, io::Error>> {
        match self {
            Self::NoPath => {
                let mut response = response(404, whole(Bytes::from_static(b"404 page not found\n")));
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                response
            }
            Self::Refused(refusal) => {
                response(refusal.code, whole(Bytes::from(refusal.to_status().to_string())))
            }
        }
    }
}

impl From<StoreError> for Answer {
    fn from(refusal: StoreError) -> Self {
        Self::json(refusal.code, &refusal.to_status())
    }
}

fn response(code: u16, body: UnsyncBoxBody<Bytes, io::Error>) -> Response<UnsyncBoxBody<Bytes, io::Error>> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A watch with the troubles of its events.
struct Sending {
    watch: Watch,
    request: Request,
    faults: Arc<dyn Faults>,
    is_broken: bool,
}

fn events(watch: Watch, request: Request, faults: Arc<dyn Faults>) -> UnsyncBoxBody<Bytes, io::Error> {
    let sending = Sending { watch, request, faults, is_broken: false };
    let lines = stream::unfold(sending, |mut sending| async move {
        let line = sending.next_line().await?;
        Some((line.map(http_body::Frame::data), sending))
    });
    UnsyncBoxBody::new(StreamBody::new(lines).boxed_unsync())
}

impl Sending {
    async fn next_line(&mut self) -> Option<Result<Bytes, io::Error>> {
        while !self.is_broken {
            let event = self.watch.next().await?;
            match self.faults.deliver(&self.request, &event) {
                Delivery::Deliver => {}
                Delivery::Delay(span) => sleep(span).await,
                Delivery::Cut => return None,
                Delivery::Break => {
                    self.is_broken = true;
                    return Some(Err(io::Error::new(
                        io::ErrorKind::ConnectionReset,
                        "connection reset by peer",
                    )));
                }
                Delivery::Swallow => continue,
            }
            return Some(Ok(Bytes::from(event.line())));
        }
        None
    }
}
