//! What the application of the endpoint does meanwhile, and its port.

use arbitrary::{Result, Unstructured};
use bowline::{Duration, Refusal, RespondError, Semantics, SendError};

use super::{Open, Scene};

impl Scene {
    pub(super) fn call(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let shape = input.arbitrary::<u8>()?;
        let semantics = if shape & 1 == 0 { Semantics::AtMostOnce } else { Semantics::Idempotent };
        let timeout = Duration::from_millis([0, 5, 300, 20_000][usize::from(shape >> 1 & 3)]);
        let mut payload = self.next_id.to_le_bytes().to_vec();
        payload.resize(4 + usize::from(shape >> 3) * 2, 0xCA);
        let (free, limit) = self.subject.both(|node, _| (node.free_calls(), node.max_payload()));
        let outcome = self.subject.attempt(|node, now| node.call(now, 7, semantics, timeout, &payload));
        self.check_accepted(outcome.is_ok(), outcome.err(), payload.len(), limit, free == 0);
        if let Ok(call) = outcome {
            assert!(self.calls.values().all(|open| open.call != call));
            let open = Open { call, deadline: self.subject.now + timeout, was_sent: false };
            self.calls.insert(self.next_id, open);
            self.next_id += 1;
        }
        Ok(())
    }

    fn check_accepted(&self, is_ok: bool, error: Option<SendError>, len: usize, limit: usize, is_full: bool) {
        let is_right = match error {
            None => is_ok && !self.is_closed && len <= limit && !is_full,
            Some(SendError::Closed) => self.is_closed,
            Some(SendError::TooLarge { limit: told }) => len > limit && usize::from(told) == limit,
            Some(SendError::Full) => is_full,
        };
        assert!(is_right, "{error:?}");
    }

    pub(super) fn one_way(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let shape = input.arbitrary::<u8>()?;
        let mut payload = self.next_id.to_le_bytes().to_vec();
        self.next_id += 1;
        payload.resize(4 + usize::from(shape >> 2), 0xDA);
        let key = u16::from(shape & 2);
        let outcome = self.subject.attempt(|node, now| match shape & 1 {
            0 => node.notify(now, key, &payload),
            _ => node.publish(now, key, &payload),
        });
        let is_full = outcome == Err(SendError::Full);
        let limit = self.subject.both(|node, _| node.max_payload());
        self.check_accepted(outcome.is_ok(), outcome.err(), payload.len(), limit, is_full);
        Ok(())
    }

    pub(super) fn answer(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let shape = input.arbitrary::<u8>()?;
        if self.handlers.is_empty() {
            return Ok(());
        }
        let index = usize::from(shape & 1) % self.handlers.len();
        let request = self.handlers[index];
        let is_orphan = self.model.is_orphan(request);
        if shape >> 1 & 3 == 3 {
            let refusal = [Refusal::Busy, Refusal::Expired, Refusal::UnknownKey, Refusal::ResponseTooLarge];
            let (refusal, code) = (refusal[usize::from(shape >> 3 & 3)], [0, 1, 2, 5][usize::from(shape >> 3 & 3)]);
            // An orphan's answer fails, and ends it: the twin is told as well.
            let outcome = self.subject.both(|node, now| node.refuse(now, request, refusal));
            assert_eq!(outcome.is_err(), is_orphan);
            self.model.answered(request, Err(code));
        } else {
            let payload = vec![0xEA; usize::from(shape >> 3) * 2];
            let outcome = self.subject.both(|node, now| node.respond(now, request, &payload));
            match outcome {
                Err(RespondError::TooLarge { limit }) => {
                    assert!(payload.len() > usize::from(limit) && !is_orphan);
                    return Ok(());
                }
                Err(RespondError::Stale) => assert!(is_orphan),
                Ok(()) => assert!(!is_orphan),
            }
            self.model.answered(request, Ok(payload));
        }
        self.handlers.remove(index);
        let again = self.subject.attempt(|node, now| node.respond(now, request, b"again"));
        assert_eq!(again, Err(RespondError::Stale), "a request is answered once");
        Ok(())
    }

    pub(super) fn cancel(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let index = usize::from(input.arbitrary::<u8>()?);
        let calls = self.calls.values().map(|open| open.call).chain(self.ended.iter().rev().take(2).copied());
        let calls = calls.collect::<Vec<_>>();
        let Some(call) = calls.get(index % calls.len().max(1)) else { return Ok(()) };
        self.subject.both(|node, now| node.cancel(now, *call));
        // Its response is news no longer.
        self.model.forget(*call);
        Ok(())
    }

    pub(super) fn close_or_connect(&mut self) {
        if self.is_closed {
            self.subject.both(|node, now| node.connect(now));
            self.left();
        } else {
            self.subject.both(|node, now| node.close(now));
            self.model.end();
        }
        self.is_closed = !self.is_closed;
    }

    /// The port does not take the next frame.
    pub(super) fn refuse(&mut self) {
        if let Some(frame) = self.subject.refuse() {
            self.model.refused += u64::from(frame[0] & 0x80 != 0);
        }
    }

    pub(super) fn sleep(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let millis = [0, 1, 7, 30, 100, 500, 3_000, 11_000][usize::from(input.arbitrary::<u8>()? % 8)];
        self.subject.sleep(Duration::from_millis(millis));
        Ok(())
    }
}
