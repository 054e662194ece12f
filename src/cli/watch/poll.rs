//! Asks the daemon how its machines are, again and again; where it is away, until it is back.

use super::board::{RoomState, UsualTimes, room_of};
use crate::admin::{
    api::{AttemptFilter, AttemptStatus, HostFilter, HostStatus, NoParameters, Status},
    client::{self, ClientError},
    routes::{GetAttempts, GetHosts, GetStatus},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::mpsc::Sender,
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How often it is asked.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is found out anew what is usual.
const USUAL_INTERVAL: Duration = Duration::from_secs(120);
/// Machines of one kind whose earlier boots say what is usual.
const USUAL_MACHINES_MAX: usize = 8;

/// What the daemon says, or why it says nothing.
pub(super) enum News {
    Room(Box<RoomState>),
    Usual(UsualTimes),
    Away(String),
}

/// Asks for ever, or until nobody listens any more.
pub(super) fn poll(socket: &Path, news: &Sender<News>) {
    let mut usual_due = Instant::now();
    loop {
        let begun = Instant::now();
        let heard = match room(socket) {
            Ok(room) => {
                let hosts = (usual_due <= begun).then(|| room.hosts.clone());
                let is_heard = news.send(News::Room(Box::new(room))).is_ok();
                if let Some(hosts) = hosts
                    && let Ok(usual) = usual(socket, &hosts)
                {
                    usual_due = begun + USUAL_INTERVAL;
                    is_heard && news.send(News::Usual(usual)).is_ok()
                } else {
                    is_heard
                }
            }
            Err(error) => news.send(News::Away(error.to_string())).is_ok(),
        };
        if !heard {
            return;
        }
        sleep(ASK_INTERVAL.saturating_sub(begun.elapsed()));
    }
}

fn room(socket: &Path) -> Result<RoomState, ClientError> {
    let hosts = client::list::<GetHosts, HostStatus>(socket, &HostFilter::default())?;
    let attempts = client::list::<GetAttempts, AttemptStatus>(socket, &AttemptFilter::default())?;
    let status = client::document::<GetStatus, Status>(socket, &NoParameters {})?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(RoomState {
        now: now.map_or(0, |since| since.as_secs()),
        hosts,
        attempts,
        transfers: status.transfers,
    })
}

/// How long machines of each kind take in each state, by the earlier boots of some of them.
fn usual(socket: &Path, hosts: &[HostStatus]) -> Result<UsualTimes, ClientError> {
    let mut of_kind: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for host in hosts {
        let of_kind = of_kind.entry(room_of(host)).or_default();
        if of_kind.len() < USUAL_MACHINES_MAX {
            of_kind.push(host.name.clone());
        }
    }
    let mut usual = UsualTimes::default();
    for (kind, machine) in of_kind {
        let filter = AttemptFilter {
            machine,
            all: vec!["true".to_owned()],
        };
        let attempts = client::list::<GetAttempts, AttemptStatus>(socket, &filter)?;
        usual.add(kind, &attempts);
    }
    Ok(usual)
}
