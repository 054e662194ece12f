//! What begins by a client's first acknowledgement: its request came with an address that anybody may write.
//!
//! So may its acknowledgement: there is nothing in it that whoever heard us alone could know but our port, which is the
//! lane's. While nobody on our wire has the address, whatever was sent to it is with nobody, and no acknowledgement
//! counts: the install of a machine that is off can't be begun by others.

use super::{
    super::prepare::{Prepared, TransferFiles, TransferRequest, prepare},
    MessageBody, Worker, WorkerMessage,
};
use crate::boot::resource::{Hearing, Promise};
use crate::net::neighbours::Neighbours;
use crate::state::Shared;
use std::{net::SocketAddrV4, sync::Arc};

/// What the request of a client comes to that was not heard yet. What an install is told goes to no other machine on
/// our wire than its host, not even the first block of it.
pub(super) async fn prepare_unheard(
    files: (&Arc<Shared>, &TransferFiles),
    client: SocketAddrV4,
    (request, neighbours): (&TransferRequest, &Neighbours),
) -> Prepared {
    let prepared = prepare(files, client, (request, Hearing::Unproven { link: None })).await;
    if prepared.promise.is_none() {
        return prepared;
    }
    match neighbours.mac_of(*client.ip()) {
        link @ Some(_) => prepare(files, client, (request, Hearing::Unproven { link })).await,
        None => prepared,
    }
}

impl Worker {
    /// Begins what the client's request begins now that it was heard.
    pub(super) fn begin_promised(&mut self, client: SocketAddrV4, (promise, request): (Promise, TransferRequest)) {
        let Some(entry) = self.sessions.get_mut(client) else {
            return;
        };
        if !self.neighbours.knows(*client.ip()) {
            return entry.session.await_proof(promise);
        }
        let number = entry.number;
        let hearing = Hearing::Acknowledged {
            token: promise.token,
            link: self.neighbours.mac_of(*client.ip()),
        };
        let (shared, messages) = (Arc::clone(&self.shared), self.messages.0.clone());
        let files = self.files.clone();
        self.tasks.spawn(async move {
            let prepared = prepare((&shared, &files), client, (&request, hearing)).await;
            let news = MessageBody::Begun(Box::new(prepared));
            let _ = messages.send(WorkerMessage { client, number, news });
        });
    }
}
