//! From whoever sees events to the clients that subscribed to them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::protocol::{Event, EventKind};
use super::outbox::{EventSet, Outbox};

/// Where events are told. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub struct Hub {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    clients: Mutex<Clients>,
    /// How many clients there are, to be asked without a lock.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Clients {
    outboxes: Vec<Arc<Outbox>>,
}

impl Hub {
    /// Tells an event to everybody who subscribed to it, `times` times. It is made, and written down, once, and not at
    /// all if nobody did. Never waits.
    pub fn publish(&self, kind: EventKind, times: u32, make: impl FnOnce() -> Event) {
        if self.inner.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let clients = self.clients();
        let mut line: Option<Arc<str>> = None;
        let mut make = Some(make);
        for outbox in clients.outboxes.iter().filter(|outbox| outbox.subscribed().has(kind)) {
            if let Some(make) = make.take() {
                line = Some(make().line().into());
            }
            let Some(line) = &line else { return };
            for _ in 0..times {
                outbox.push_event(Arc::clone(line));
            }
        }
    }

    /// What any client subscribed to.
    pub fn wanted(&self) -> EventSet {
        let clients = self.clients();
        clients.outboxes.iter().fold(EventSet::default(), |all, outbox| all.union(outbox.subscribed()))
    }

    pub(super) fn join(&self, outbox: &Arc<Outbox>) -> Membership {
        let mut clients = self.clients();
        clients.outboxes.push(Arc::clone(outbox));
        self.inner.count.store(clients.outboxes.len(), Ordering::Release);
        Membership { hub: self.clone(), outbox: Arc::clone(outbox) }
    }

    fn leave(&self, outbox: &Arc<Outbox>) {
        let mut clients = self.clients();
        clients.outboxes.retain(|known| !Arc::ptr_eq(known, outbox));
        self.inner.count.store(clients.outboxes.len(), Ordering::Release);
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.inner.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client is among those that are told, until this is dropped.
pub(super) struct Membership {
    hub: Hub,
    outbox: Arc<Outbox>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.hub.leave(&self.outbox);
    }
}
