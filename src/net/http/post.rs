//! Requests that bring something: it is read, within bounds, before they are decided.

use super::{
    body::ResponseBody,
    held::Hold,
    response::{ConnectionContext, HttpRefusal},
};
use crate::boot::{
    event::Reason,
    method::{Method, Methods},
    resource::Resolved,
    user_agent::RetryBehaviour,
};
use crate::model::limits::{HTTP_BODY_BYTES_MAX, HTTP_BODY_DISCARDED_BYTES_MAX, HTTP_BODY_TIMEOUT};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Incoming},
    header::ACCEPT,
};
use std::{error::Error, sync::Arc};
use tokio::time::timeout;

impl ConnectionContext {
    /// The response to a request whose body counts. Whoever sends one asks again by themselves.
    pub(super) async fn post(self: &Arc<Self>, mut request: Request<Incoming>) -> Response<ResponseBody> {
        let path = request.uri().path().as_bytes();
        let may_be_longer = self.shared.resources.methods(path) == Methods::Callback;
        let body = match read(request.body_mut(), may_be_longer).await {
            Ok(body) => body,
            Err(denied) => return self.unread(denied.status, denied.reason, false),
        };
        let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let Resolved { subject, result, .. } = self.ask(request.uri(), Method::Post, (accept, &body)).await;
        let mut hold = Hold::new(RetryBehaviour::Retries);
        match self.settle(&request, (&subject, result), &mut hold).await {
            Ok(response) => response,
            Err(denied) => self.refuse(&subject, denied, (false, false)),
        }
    }
}

/// A request's body, and of one that may be longer than is kept its beginning.
async fn read(body: &mut Incoming, may_be_longer: bool) -> Result<Bytes, HttpRefusal> {
    let max = match may_be_longer {
        true => HTTP_BODY_DISCARDED_BYTES_MAX,
        false => HTTP_BODY_BYTES_MAX,
    };
    if body.size_hint().lower() > max as u64 {
        return Err(too_large(max));
    }
    match timeout(HTTP_BODY_TIMEOUT, kept(&mut Limited::new(body, max))).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(max)),
        Ok(Err(error)) => {
            let error = error.to_string().into();
            Err(HttpRefusal::new(StatusCode::BAD_REQUEST, Reason::BodyBroken { error }))
        }
        Err(_) => Err(HttpRefusal::new(StatusCode::REQUEST_TIMEOUT, Reason::BodyTooSlow)),
    }
}

/// Reads a body to its end, and keeps so much of it as is ever kept.
async fn kept(body: &mut Limited<&mut Incoming>) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = HTTP_BODY_BYTES_MAX.saturating_sub(kept.len());
            kept.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(kept.freeze())
}

/// Says the limit that holds for the path.
fn too_large(max: usize) -> HttpRefusal {
    HttpRefusal::new(StatusCode::PAYLOAD_TOO_LARGE, Reason::BodyTooLarge { max })
}
