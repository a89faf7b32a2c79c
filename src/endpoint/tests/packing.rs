//! What shares a packet.

use super::*;

/// Long frames, and eight slots of each kind.
type Long = Endpoint<Buffers<200, 8, 8, 8, 8, 0, 40>>;
const FRAME: usize = 216;
/// Where a burst of small messages ends a packet, with the check.
const SMALL: usize = 68 + 4;

/// How long the packets are in which so many calls, responses and notifies of so many bytes go out, and in which they go
/// again when all are lost, on a line with a latency of so many milliseconds.
fn lens([calls, responses, notifies]: [(usize, usize); 3], latency: u64) -> [Vec<usize>; 2] {
    let [mut a, mut b]: [Long; 2] = [1, 2].map(|entropy| boot(entropy, Buffers::new()));
    let talk = |a: &mut Long, b: &mut Long| {
        let mut buf = [0; 300];
        for turn in 0..20 {
            let there = at(turn * 2 * latency);
            let back = at((turn * 2 + 1) * latency);
            while let Some(len) = a.poll_transmit(there, &mut buf) {
                let _ = b.handle_frame(back, &mut buf[..len]).next(b);
            }
            while let Some(len) = b.poll_transmit(back, &mut buf) {
                let _ = a.handle_frame(at((turn + 1) * 2 * latency), &mut buf[..len]).next(a);
            }
        }
    };
    talk(&mut a, &mut b);
    let now = at(40 * latency);
    // The requests come one by one, and are all answered before the node may speak.
    let (mut requests, mut buf) = (Vec::new(), [0; 300]);
    for _ in 0..responses.0 {
        b.call(now, 7, Semantics::AtMostOnce, TIMEOUT, b"").unwrap();
        let len = b.poll_transmit(now, &mut buf).unwrap();
        requests.push(buf[..len].to_vec());
    }
    for mut request in requests {
        let Some(Message::Request { id, .. }) = a.handle_frame(now, &mut request).next(&mut a) else { panic!() };
        a.respond(now, id, &vec![1; responses.1]).unwrap();
    }
    for _ in 0..calls.0 {
        a.call(now, 7, Semantics::AtMostOnce, TIMEOUT, &vec![2; calls.1]).unwrap();
    }
    for key in 0..notifies.0 {
        a.notify(now, key as u16, &vec![3; notifies.1]).unwrap();
    }
    [now, now + Duration::from_millis(400)]
        .map(|now| core::iter::from_fn(|| a.poll_transmit(now, &mut [0; 300])).collect())
}

#[test]
fn a_burst_of_small_messages_is_spread_over_packets() {
    for waiting in
        [[(6, 8), (0, 0), (0, 0)], [(0, 0), (8, 8), (0, 0)], [(0, 0), (0, 0), (6, 8)], [(2, 8), (2, 8), (2, 8)]]
    {
        for lens in lens(waiting, 1) {
            assert!(lens.len() >= 2 && lens.iter().all(|len| *len <= SMALL), "{waiting:?}: {lens:?}");
            assert!(lens[0] > SMALL - 20, "{waiting:?}: {lens:?}");
        }
    }
}

#[test]
fn what_does_not_fit_into_one_packet_fills_it() {
    let small = (2, 8);
    for waiting in [[(8, 40), small, small], [small, (8, 40), small], [small, small, (8, 40)]] {
        for lens in lens(waiting, 1) {
            assert!(lens[0] > FRAME - 50 && lens[0] <= FRAME, "{waiting:?}: {lens:?}");
        }
    }
}

#[test]
fn where_a_round_trip_takes_no_time_a_burst_of_small_messages_shares_a_packet() {
    for waiting in
        [[(6, 8), (0, 0), (0, 0)], [(0, 0), (8, 8), (0, 0)], [(0, 0), (0, 0), (6, 8)], [(2, 8), (2, 8), (2, 8)]]
    {
        for lens in lens(waiting, 0) {
            assert!(lens.len() == 1 && lens[0] > SMALL, "{waiting:?}: {lens:?}");
        }
    }
}
