//! What begins by a client's first acknowledgement: its request came with an address that anybody may write.

use super::{super::prepare::TransferRequest, MessageBody, Worker, WorkerMessage, prepare};
use crate::boot::resource::{Hearing, Promise};
use std::{net::SocketAddrV4, sync::Arc};

impl Worker {
    /// Begins what the client's request begins now that it was heard.
    pub(super) fn begin_promised(&mut self, client: SocketAddrV4, (promise, request): (Promise, TransferRequest)) {
        let Some(number) = self.sessions.get_mut(client).map(|entry| entry.number) else {
            return;
        };
        let hearing = Hearing::Acknowledged {
            token: promise.token,
            link: self.neighbours.mac_of(*client.ip()),
        };
        let (shared, messages) = (Arc::clone(&self.shared), self.messages.0.clone());
        let hot_files = Arc::clone(&self.hot_files);
        self.tasks.spawn(async move {
            let prepared = prepare((&shared, &hot_files), client, (&request, hearing)).await;
            let news = MessageBody::Begun(Box::new(prepared));
            let _ = messages.send(WorkerMessage { client, number, news });
        });
    }
}
