//! Finds a call that met trouble and was answered all the same, and draws its frames.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Instant;

use bowline::wire::describe;

use crate::audit::is_ok;
use crate::diagram::{Diagram, Row, Side as Lifeline};
use crate::dispenser::OrderId;
use crate::supervisor::Run;
use crate::text::plural;
use crate::wire_log::{Entry, Fate, Side};

/// More frames than this make no picture.
const MOST_FRAMES: usize = 8;

/// A frame that carries a message of the call, and what it shows.
struct Carrier<'a> {
    entry: &'a Entry,
    from: Side,
    fate: Fate,
    label: String,
}

/// The most instructive recovered call: a sentence about it, and the picture.
pub struct Recovered {
    pub sentence: String,
    pub diagram: String,
}

/// Finds it among the frames that are kept.
pub fn find(run: &Run, entries: &[Entry]) -> Option<Recovered> {
    let mut carriers = HashMap::<u32, Vec<Carrier<'_>>>::new();
    for entry in entries {
        let Entry::Frame { from, fate, content: Some(content), .. } = entry else { continue };
        for (call, label) in messages(run.id, content) {
            carriers.entry(call).or_default().push(Carrier { entry, from: *from, fate: *fate, label });
        }
    }
    let is_candidate = |call: u32| run.calls.get(call as usize).is_some_and(|record| is_ok(&record.end));
    let scored = carriers.into_iter().filter(|(call, _)| is_candidate(*call));
    let scored = scored.map(|(call, carriers)| (score(&carriers), call, carriers));
    // Of equals the first.
    let (score, call, carriers) = scored.max_by_key(|(score, call, _)| (*score, u32::MAX - call))?;
    let sentence = sentence(call, &carriers);
    (score > 0).then(|| Recovered { sentence, diagram: diagram(run, call, &carriers, entries) })
}

/// What the frame carries: each call, and the parts of the frame's description that are about it.
///
/// The ids stand in the payloads in clear, in the order of the requests and responses that the description lists.
fn messages(run: u32, content: &[u8]) -> Vec<(u32, String)> {
    let description = describe(content).to_string();
    let mut parts = description.split(" | ");
    let header = parts.next().unwrap_or_default();
    let parts = parts.filter(|part| part.starts_with("REQUEST") || part.starts_with("RESPONSE")).collect::<Vec<_>>();
    let ids = content.windows(OrderId::LEN).filter_map(OrderId::decode).filter(|id| id.run == run);
    let others = if parts.len() > 1 { format!(" and {} more", parts.len() - 1) } else { String::new() };
    // "REQUEST slot.sequence", without key and length.
    let name = |part: &str| part.split(' ').take(2).collect::<Vec<_>>().join(" ").replace(',', "");
    parts.iter().zip(ids).map(|(part, id)| (id.call, format!("{header} | {}{others}", name(part)))).collect()
}

/// Frames from one side that never arrived as they were sent, before the call had its answer.
fn harmed(carriers: &[Carrier<'_>], from: Side) -> usize {
    let answered = first_intact(carriers, Side::Device);
    let before = carriers.iter().filter(|carrier| Some(carrier.entry.at()) < answered);
    before.filter(|carrier| carrier.from == from && carrier.fate.intact_at().is_none()).count()
}

/// Best is one that lost both a request and a response: two retransmissions, one effect.
fn score(carriers: &[Carrier<'_>]) -> usize {
    let whole = [Side::Caller, Side::Device].iter().all(|side| first_intact(carriers, *side).is_some());
    if !whole || carriers.len() > MOST_FRAMES {
        return 0;
    }
    let (requests, responses) = (harmed(carriers, Side::Caller), harmed(carriers, Side::Device));
    2 * requests.min(1) + 3 * responses.min(1) + usize::from(requests + responses > 2)
}

fn sentence(call: u32, carriers: &[Carrier<'_>]) -> String {
    let part = |count: usize, what: &str| (count > 0).then(|| plural(count, what));
    let harmed = [part(harmed(carriers, Side::Caller), "request"), part(harmed(carriers, Side::Device), "response")];
    let harmed = harmed.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    format!("Call {call} lost {harmed} and took effect once. (--X is lost, ~~> garbled.)")
}

fn diagram(run: &Run, call: u32, carriers: &[Carrier<'_>], entries: &[Entry]) -> String {
    let span = span(carriers);
    let origin = *span.start();
    let mut rows = carriers.iter().flat_map(|carrier| carrier.entry.rows(origin, &carrier.label)).collect::<Vec<_>>();
    let beside = entries.iter().filter(|entry| matches!(entry, Entry::Process { .. }) && span.contains(&entry.at()));
    rows.extend(beside.flat_map(|entry| entry.rows(origin, "")));
    let mut note = |at: Option<Instant>, side, label: String| {
        rows.extend(at.map(|at| Row::note(at.duration_since(origin).as_micros() as u64, side, label)));
    };
    let coins = plural(run.calls[call as usize].amount, "coin");
    note(first_intact(carriers, Side::Caller), Lifeline::Right, coins);
    note(first_intact(carriers, Side::Device), Lifeline::Left, format!("call {call} is ok"));
    Diagram { left: "caller", right: "device", rows: &rows }.to_string()
}

fn first_intact(carriers: &[Carrier<'_>], from: Side) -> Option<Instant> {
    carriers.iter().filter(|carrier| carrier.from == from).filter_map(|carrier| carrier.fate.intact_at()).min()
}

fn span(carriers: &[Carrier<'_>]) -> RangeInclusive<Instant> {
    let times = carriers.iter().map(|carrier| carrier.entry.at());
    let first = times.clone().min().expect("a call without frames is not drawn");
    first..=times.max().unwrap_or(first)
}
