//! The book outside of both nodes: what was asked, what took effect, what the callers were told. It breaks on the first broken promise.

use std::collections::BTreeMap;

use bowline::{CallError, Executed, Reason, Refusal, Semantics};

/// Where and when a request was delivered: the server's node, which of its lives, and which session of that life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub node: usize,
    pub life: u32,
    pub session: u32,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Ok,
    Failed(CallError),
    /// Its caller crashed.
    Abandoned,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Entry {
    pub caller: usize,
    pub semantics: Semantics,
    pub timeout: u64,
    pub key: u16,
    pub request: Vec<u8>,
    pub ending: Option<Ending>,
    pub deliveries: Vec<Place>,
    /// Where it took effect, and what the handler answered.
    pub effects: Vec<(Place, Vec<u8>)>,
}

/// One notify or publish.
#[derive(Clone, Debug)]
pub struct OneWay {
    pub key: u16,
    pub payload: Vec<u8>,
}

/// What one node has received of its peer's notifies: the last one, and the life and session that it came in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notified {
    pub last: Option<(u32, (u32, u32))>,
    pub count: u32,
}

/// What one node has received of its peer's publishes.
#[derive(Clone, Debug, Default)]
pub struct Published {
    last_of_key: BTreeMap<u16, u32>,
    count: u32,
    missed: u32,
}

/// How often a thing happened in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub ok: u32,
    pub no: u32,
    pub maybe: u32,
    pub yes: u32,
    pub abandoned: u32,
    pub crashes: u32,
    pub orphans: u32,
    pub notifies: u32,
    pub publishes: u32,
    pub sessions: u32,
    pub frames: u32,
    pub hellos: u32,
    /// Sessions that ended by the lease though both nodes were up and nothing was wrong with the link any more.
    pub healed_by_lease: u32,
    pub damaged: u32,
    /// Damaged frames that passed the check.
    pub undetected: u32,
    /// Frames that came again after they had been accepted.
    pub again: u32,
    /// Requests that had to wait for the handler of an earlier session, and others for which there was no room.
    pub deferred: u32,
}

impl Tally {
    /// Calls that have ended.
    pub fn endings(&self) -> u32 {
        self.ok + self.no + self.maybe + self.yes + self.abandoned
    }

    pub fn add(&mut self, other: &Tally) {
        let Tally { ok, no, maybe, yes, abandoned, crashes, orphans, .. } = other;
        self.ok += ok;
        self.no += no;
        self.maybe += maybe;
        self.yes += yes;
        self.abandoned += abandoned;
        self.crashes += crashes;
        self.orphans += orphans;
        let Tally { notifies, publishes, sessions, frames, hellos, healed_by_lease, damaged, undetected, .. } = other;
        let Tally { again, deferred, .. } = other;
        self.again += again;
        self.deferred += deferred;
        self.hellos += hellos;
        self.healed_by_lease += healed_by_lease;
        self.notifies += notifies;
        self.publishes += publishes;
        self.sessions += sessions;
        self.frames += frames;
        self.damaged += damaged;
        self.undetected += undetected;
    }
}

#[derive(Default)]
pub struct Ledger {
    calls: Vec<Entry>,
    /// By sender.
    notifies: [Vec<OneWay>; 2],
    publishes: [Vec<OneWay>; 2],
    /// By receiver.
    pub notified: [Notified; 2],
    published: [Published; 2],
    pub tally: Tally,
    broken: Option<String>,
}

impl Ledger {
    /// A promise is broken. Only the first counts: what follows may be its consequence.
    pub fn broken(&mut self, what: impl Into<String>) {
        self.broken.get_or_insert_with(|| what.into());
    }

    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub fn verdict(&mut self) -> Option<String> {
        self.broken.take()
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken(what());
        }
    }

    // Calls

    /// The id that the next call will have.
    pub fn next_call(&self) -> u32 {
        self.calls.len() as u32
    }

    pub fn called(&mut self, entry: Entry) {
        self.calls.push(entry);
    }

    pub fn call(&self, id: u32) -> Option<&Entry> {
        self.calls.get(id as usize)
    }

    /// A handler is about to run.
    pub fn delivered(&mut self, place: Place, key: u16, request: &[u8]) -> Option<u32> {
        let id = id_of(request)?;
        let Some(entry) = self.calls.get_mut(id as usize) else {
            self.broken(format!("a request that nobody made was delivered: {request:02x?}"));
            return None;
        };
        let genuine = entry.key == key && entry.request == request && entry.caller != place.node;
        let again = entry.deliveries.contains(&place);
        let earlier = entry.deliveries.len();
        let (semantics, ending) = (entry.semantics, entry.ending);
        entry.deliveries.push(place);
        self.check(genuine, || format!("call {id} was delivered altered or to its own caller"));
        self.check(!again, || format!("call {id} was delivered twice in one session"));
        let once = semantics == Semantics::Idempotent || earlier == 0;
        self.check(once, || format!("at-most-once call {id} was delivered again, in another session"));
        let refuted = matches!(ending, Some(Ending::Failed(CallError { executed: Executed::No, .. })));
        self.check(!refuted, || format!("call {id} was delivered after its caller was told 'executed: no'"));
        Some(id)
    }

    /// A handler does what it was asked to.
    pub fn effect(&mut self, id: u32, place: Place, response: &[u8]) {
        let Some(entry) = self.calls.get_mut(id as usize) else { return };
        let earlier = entry.effects.len();
        let again = entry.effects.iter().any(|(there, _)| *there == place);
        let (semantics, ending) = (entry.semantics, entry.ending);
        entry.effects.push((place, response.to_vec()));
        let once = semantics == Semantics::Idempotent || earlier == 0;
        self.check(once && !again, || format!("call {id} took effect twice"));
        let refuted = matches!(ending, Some(Ending::Failed(CallError { executed: Executed::No, .. })));
        self.check(!refuted, || format!("call {id} took effect after its caller was told 'executed: no'"));
        // The orphan rule: a repetition waits for the handler of the session before.
        let done = match ending {
            Some(Ending::Ok) => true,
            Some(Ending::Failed(error)) => error.executed == Executed::Yes,
            _ => false,
        };
        self.check(!done, || format!("call {id} took effect after its caller was told that it is done"));
    }

    /// The caller has a response.
    pub fn responded(&mut self, id: u32, response: &[u8]) {
        self.end(id, Ending::Ok);
        self.tally.ok += 1;
        let Some(entry) = self.calls.get(id as usize) else { return };
        let effects = entry.effects.len();
        let own = entry.effects.iter().any(|(_, answer)| answer == response);
        self.check(effects > 0, || format!("call {id} is ok, but it never took effect"));
        self.check(own, || format!("call {id} got a response that none of its handlers gave"));
    }

    /// The caller was told why there is no response. `was_sent`: some frame that could hold the call was taken by the caller's port.
    /// `same_session`: the caller has been in one session since it made the call.
    pub fn failed(&mut self, id: u32, error: CallError, was_sent: bool, same_session: bool) {
        self.end(id, Ending::Failed(error));
        match error.executed {
            Executed::No => self.tally.no += 1,
            Executed::Maybe => self.tally.maybe += 1,
            Executed::Yes => self.tally.yes += 1,
        }
        let Some(entry) = self.calls.get(id as usize) else { return };
        let has_effect = !entry.effects.is_empty();
        match error.executed {
            Executed::No => {
                self.check(!has_effect, || format!("call {id} took effect, but its caller was told 'executed: no'"));
            }
            Executed::Yes => {
                self.check(has_effect, || format!("call {id} had no effect, but its caller was told 'executed: yes'"));
            }
            Executed::Maybe => {
                self.check(was_sent, || format!("call {id} was never sent, but its caller was told 'executed: maybe'"));
            }
        }
        if let (Reason::Refused(refusal), true) = (error.reason, same_session) {
            let certain = match refusal {
                Refusal::ResponseTooLarge => Executed::Yes,
                _ => Executed::No,
            };
            let told = error.executed;
            self.check(told == certain, || format!("call {id} was refused ({refusal:?}), its caller told '{told}'"));
        }
    }

    pub fn abandoned(&mut self, id: u32) {
        self.end(id, Ending::Abandoned);
        self.tally.abandoned += 1;
    }

    fn end(&mut self, id: u32, ending: Ending) {
        let Some(entry) = self.calls.get_mut(id as usize) else { return };
        let earlier = entry.ending.replace(ending);
        self.check(earlier.is_none(), || format!("call {id} ended twice: {earlier:?}, then {ending:?}"));
    }

    // One-way messages

    pub fn next_notify(&self, sender: usize) -> u32 {
        self.notifies[sender].len() as u32
    }

    pub fn next_publish(&self, sender: usize) -> u32 {
        self.publishes[sender].len() as u32
    }

    pub fn notify_accepted(&mut self, sender: usize, notify: OneWay) {
        self.notifies[sender].push(notify);
    }

    pub fn publish_accepted(&mut self, sender: usize, publish: OneWay) {
        self.publishes[sender].push(publish);
    }

    /// Exactly once, in order, none left out within a session but those that are longer than its `limit`.
    pub fn notify_delivered(&mut self, to: Place, key: u16, payload: &[u8], limit: usize) {
        self.tally.notifies += 1;
        let Some(number) = self.one_way(&self.notifies, to, key, payload) else {
            return self.broken(format!("a notify that nobody sent was delivered: {payload:02x?}"));
        };
        let inbox = &mut self.notified[to.node];
        let earlier = inbox.last.replace((number, (to.life, to.session)));
        inbox.count += 1;
        let Some((last, session)) = earlier else { return };
        self.check(number > last, || format!("notify {number} was delivered after notify {last}"));
        let skipped = self.notifies[1 - to.node].get(last as usize + 1..number as usize).unwrap_or_default();
        let gap = session == (to.life, to.session) && skipped.iter().any(|notify| notify.payload.len() <= limit);
        self.check(!gap, || format!("notify {number} was delivered after notify {last} in one session"));
    }

    /// Whether this notify is no longer than `limit`.
    pub fn notify_fits(&self, sender: usize, number: u32, limit: usize) -> bool {
        self.notifies[sender].get(number as usize).is_some_and(|notify| notify.payload.len() <= limit)
    }

    /// Never out of order within a key. All that were missed and all that came are no more than were sent.
    pub fn publish_delivered(&mut self, to: Place, key: u16, missed: u16, payload: &[u8]) {
        self.tally.publishes += 1;
        let sent = self.publishes[1 - to.node].len() as u32;
        let Some(number) = self.one_way(&self.publishes, to, key, payload) else {
            return self.broken(format!("a publish that nobody sent was delivered: {payload:02x?}"));
        };
        let inbox = &mut self.published[to.node];
        inbox.count += 1;
        inbox.missed += u32::from(missed);
        let came = inbox.count + inbox.missed;
        let last = inbox.last_of_key.insert(key, number);
        self.check(last < Some(number), || format!("publish {number} was delivered after publish {last:?}, key {key}"));
        self.check(came <= sent, || format!("{came} publishes came or were missed, {sent} were sent"));
    }

    fn one_way(&self, sent: &[Vec<OneWay>; 2], to: Place, key: u16, payload: &[u8]) -> Option<u32> {
        let number = id_of(payload)?;
        let message = sent[1 - to.node].get(number as usize)?;
        (message.key == key && message.payload == payload).then_some(number)
    }

    /// At the end of a run, when nothing is under way any more.
    pub fn close(&mut self) {
        let open = self.calls.iter().position(|entry| entry.ending.is_none());
        self.check(open.is_none(), || format!("call {} never ended", open.unwrap_or_default()));
    }
}

/// Payloads of requests, notifies and publishes start with their number.
pub const ID_LEN: usize = 4;

/// A payload with this number, and after it bytes that follow from the number.
pub fn payload(id: u32, len: usize) -> Vec<u8> {
    let mut payload = id.to_le_bytes().to_vec();
    // Runs of zeros and of others, since zero is what the framing works around.
    payload.extend((ID_LEN..len).map(|i| if (id >> (i / 8 % 16)) & 1 == 0 { 0 } else { (id as usize * 31 + i) as u8 }));
    payload
}

fn id_of(payload: &[u8]) -> Option<u32> {
    payload.first_chunk::<ID_LEN>().map(|bytes| u32::from_le_bytes(*bytes))
}
