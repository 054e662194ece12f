//! Requests that bring something: it is read, within bounds, before they are decided.

use super::{
    body::ResponseBody,
    held::Hold,
    response::{ConnectionContext, HttpRefusal},
};
use crate::boot::{event::Reason, method::Method, resource::Resolved, user_agent::RetryBehaviour};
use crate::model::limits::{HTTP_BODY_BYTES_MAX, HTTP_BODY_TIMEOUT};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Incoming},
};
use std::sync::Arc;
use tokio::time::timeout;

impl ConnectionContext {
    /// The response to a request whose body counts. Whoever sends one asks again by themselves.
    pub(super) async fn post(self: &Arc<Self>, mut request: Request<Incoming>) -> Response<ResponseBody> {
        let body = match read(request.body_mut()).await {
            Ok(body) => body,
            Err(denied) => return self.unread(denied.status, denied.reason, false),
        };
        let Resolved { subject, result, .. } = self.ask(request.uri(), Method::Post, &body).await;
        let mut hold = Hold::new(RetryBehaviour::Retries);
        match self.settle(&request, (&subject, result), &mut hold).await {
            Ok(response) => response,
            Err(denied) => self.refuse(&subject, denied, (false, false)),
        }
    }
}

/// All of a request's body.
async fn read(body: &mut Incoming) -> Result<Bytes, HttpRefusal> {
    let too_large = || HttpRefusal::new(StatusCode::PAYLOAD_TOO_LARGE, Reason::BodyTooLarge);
    if body.size_hint().lower() > HTTP_BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match timeout(HTTP_BODY_TIMEOUT, Limited::new(body, HTTP_BODY_BYTES_MAX).collect()).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            let error = error.to_string().into();
            Err(HttpRefusal::new(StatusCode::BAD_REQUEST, Reason::BodyBroken { error }))
        }
        Err(_) => Err(HttpRefusal::new(StatusCode::REQUEST_TIMEOUT, Reason::BodyTooSlow)),
    }
}
