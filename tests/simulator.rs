//! The promise, on a simulated link: `tests/sim/` is the simulator, these are its scenarios.
//!
//! A scenario of the swarm is drawn from its seed. A million of them, with a progress bar; interrupted, the same command goes on
//! where it was:
//!
//! ```text
//! cargo test --release --test simulator -- --ignored --nocapture swarm
//! ```
//!
//! Others, or a single one that has failed, with `BOWLINE_SEEDS=first..last` in front.

#[path = "sim/campaign.rs"]
mod campaign;
mod sim;

use std::collections::HashSet;
use std::path::Path;
use std::{env, fs};

use campaign::{hold_all, hold_all_that_are_left};
use sim::clock::ClockPlan;
use sim::sizes::Sizes;
use sim::{Entropy, Faults, Plan, Scenario, Tally, hold};

/// Runs a scenario with several seeds, on a byte stream and on datagrams.
fn always(scenario: impl Fn(Scenario) -> Scenario) -> Tally {
    let mut sum = Tally::default();
    for seed in 0..20 {
        let perfect = Scenario::perfect(seed);
        let perfect = if seed % 2 == 0 { perfect } else { perfect.datagrams() };
        sum.add(&hold(&scenario(perfect)));
    }
    assert!(sum.ok > 1_000, "hardly anything worked: {sum:?}");
    sum
}

/// With this fault alone, on both directions; nothing but a delay may come of it.
fn costs_only_time(change: impl Fn(&mut Faults)) {
    let tally = always(|perfect| perfect.with_faults(&change));
    assert_eq!((tally.no, tally.maybe, tally.yes, tally.abandoned), (0, 0, 0, 0), "{tally:?}");
}

#[test]
fn nothing_fails_on_a_perfect_link() {
    costs_only_time(|_| {});
}

#[test]
fn lost_frames_are_sent_again() {
    costs_only_time(|faults| faults.loss = 0.3);
}

#[test]
fn garbled_frames_are_dropped() {
    costs_only_time(|faults| faults.garble = 0.3);
}

#[test]
fn truncated_frames_are_dropped() {
    costs_only_time(|faults| faults.truncate = 0.3);
}

#[test]
fn noise_between_frames_is_skipped() {
    costs_only_time(|faults| faults.noise = 0.3);
}

#[test]
fn a_second_copy_changes_nothing() {
    costs_only_time(|faults| (faults.duplicate, faults.duplicate_delay) = (0.5, 1_000_000));
}

#[test]
fn frames_of_any_earlier_time_change_nothing() {
    costs_only_time(|faults| faults.replay = 0.5);
}

#[test]
fn a_node_that_hears_itself_does_not_answer_itself() {
    costs_only_time(|faults| faults.echo = 1.0);
}

#[test]
fn frames_may_overtake_each_other() {
    costs_only_time(|faults| (faults.reorder, faults.reorder_by) = (0.5, 20_000));
}

#[test]
fn latency_may_vary() {
    costs_only_time(|faults| faults.jitter = 50_000);
}

#[test]
fn a_byte_stream_may_be_cut_and_merged_anywhere() {
    always(|perfect| {
        let cut = Scenario { stream: true, ..perfect.with_faults(|faults| faults.cut = 0.9) };
        cut.with_nodes(|plan| plan.read_delay = 10_000)
    });
}

#[test]
fn a_slow_line_with_a_small_buffer_pushes_back() {
    costs_only_time(|faults| (faults.rate, faults.room) = (5_000, 20));
}

#[test]
fn a_slow_line_behind_a_deep_buffer_does_not_collapse() {
    // Repetitions that fill the buffer lengthen the round trip, up to 180 ms.
    costs_only_time(|faults| (faults.rate, faults.room) = (11_520, 2_048));
}

#[test]
fn a_round_trip_far_above_the_configured_one_is_learned() {
    always(|perfect| {
        let far = perfect.with_faults(|faults| faults.latency = 100_000);
        far.with_nodes(|plan| {
            (plan.sizes, plan.initial_round_trip, plan.work.gap) = (Sizes::Many, 1_000, 20_000);
        })
    });
}

#[test]
fn a_port_may_refuse_at_random() {
    costs_only_time(|faults| faults.refuse = 0.5);
}

#[test]
fn a_short_outage_is_waited_for() {
    costs_only_time(|faults| (faults.outage_every, faults.outage) = (500_000, 50_000));
}

#[test]
fn an_outage_longer_than_the_lease_ends_the_session() {
    let tally = always(|perfect| {
        let out = perfect.with_faults(|faults| (faults.outage_every, faults.outage) = (3_000_000, 2_000_000));
        let out = Scenario { trouble: 20_000_000, ..out };
        out.with_nodes(|plan| plan.lease = 500_000)
    });
    assert!(tally.sessions > 60, "{tally:?}");
}

#[test]
fn clocks_may_drift_and_jump() {
    always(|mut perfect| {
        let fast = ClockPlan { drift_ppm: 50_000, tick: 1_000, ..ClockPlan::default() };
        let slow = ClockPlan { drift_ppm: -50_000, jump_every: 200_000, jump_by: 100_000, ..ClockPlan::default() };
        perfect.nodes[0].clock = fast;
        perfect.nodes[1].clock = slow;
        perfect
    });
}

/// Both nodes crash about three times a second, and have handlers that are at work meanwhile.
fn crashing(plan: &mut Plan) {
    (plan.crash_every, plan.boot) = (300_000, 20_000);
    (plan.service.defer, plan.service.defer_for, plan.service.orphan_goes_on) = (0.5, 100_000, 0.5);
    plan.work.idempotent = 0.5;
}

#[test]
fn either_side_may_crash_at_any_moment() {
    let tally = always(|perfect| perfect.with_nodes(crashing));
    assert!(tally.crashes > 100 && tally.orphans > 10 && tally.maybe > 10, "{tally:?}");
}

#[test]
fn a_boot_counter_is_as_good_as_a_random_number() {
    always(|perfect| {
        let replayed = perfect.with_faults(|faults| faults.replay = 0.3);
        replayed.with_nodes(|plan| {
            crashing(plan);
            plan.entropy = Entropy::Counter;
        })
    });
}

#[test]
fn two_nodes_that_booted_equally_often_are_not_taken_for_one() {
    always(|perfect| perfect.with_nodes(|plan| plan.entropy = Entropy::SameCounter));
}

#[test]
fn a_node_without_entropy_is_safe_where_no_frame_survives_its_boot() {
    let tally = always(|perfect| {
        let lossy = perfect.with_faults(|faults| (faults.loss, faults.jitter, faults.echo) = (0.1, 5_000, 0.1));
        let crashing = Scenario { trouble: 10_000_000, ..lossy }.with_nodes(|plan| {
            crashing(plan);
            plan.crash_every = 500_000;
        });
        crashing.without_entropy(1)
    });
    assert!(tally.crashes > 100, "{tally:?}");
}

#[test]
fn cancelled_calls_end_and_their_slots_come_free() {
    let tally = always(|perfect| {
        let lossy = perfect.with_faults(|faults| faults.loss = 0.2);
        lossy.with_nodes(|plan| {
            plan.work.cancel = 0.4;
            plan.work.timeout = (5_000, 500_000);
            (plan.service.defer, plan.service.defer_for, plan.service.abort) = (0.8, 200_000, 0.5);
        })
    });
    assert!(tally.no > 100 && tally.maybe > 100, "{tally:?}");
}

#[test]
fn notifies_arrive_in_order_and_exactly_once() {
    let tally = always(|perfect| {
        let lossy = perfect.with_faults(|faults| (faults.loss, faults.reorder, faults.reorder_by) = (0.3, 0.3, 20_000));
        lossy.with_nodes(|plan| (plan.sizes, plan.work.notify, plan.work.gap) = (Sizes::Many, 0.7, 2_000))
    });
    assert!(tally.notifies > 5_000, "{tally:?}");
}

#[test]
fn all_faults_together_break_no_promise() {
    always(|perfect| {
        let bad = perfect.with_faults(|faults| {
            *faults = Faults {
                loss: 0.1,
                garble: 0.05,
                truncate: 0.02,
                noise: 0.02,
                duplicate: 0.05,
                duplicate_delay: 500_000,
                replay: 0.05,
                echo: 0.02,
                reorder: 0.05,
                reorder_by: 10_000,
                latency: 2_000,
                jitter: 1_000,
                rate: 100_000,
                room: 256,
                refuse: 0.05,
                cut: 0.3,
                outage_every: 1_000_000,
                outage: 100_000,
            }
        });
        bad.with_nodes(|plan| {
            crashing(plan);
            plan.crash_every = 1_000_000;
            (plan.work.cancel, plan.work.notify, plan.work.publish, plan.work.close) = (0.1, 0.1, 0.1, 0.01);
        })
    });
}

#[test]
fn a_run_follows_from_its_seed_alone() {
    for seed in 0..20 {
        let (once, again) = (hold(&Scenario::draw(seed)), hold(&Scenario::draw(seed)));
        assert_eq!(format!("{once:?}"), format!("{again:?}"));
    }
}

#[test]
fn no_promise_is_broken_in_a_swarm_of_seeds() {
    let tally = hold_all(0..2_000);
    report(&tally);
    let Tally { ok, no, maybe, yes, abandoned, crashes, orphans, .. } = tally;
    let Tally { notifies, publishes, sessions, damaged, again, deferred, .. } = tally;
    let all =
        [ok, no, maybe, yes, abandoned, crashes, orphans, notifies, publishes, sessions, damaged, again, deferred];
    assert!(all.iter().all(|count| *count > 100), "{tally:?}");
}

#[test]
#[ignore = "takes long: a million seeds, or those that BOWLINE_SEEDS=first..last names"]
fn no_promise_is_broken_in_a_large_swarm_of_seeds() {
    let seeds = env::var("BOWLINE_SEEDS").unwrap_or("0..1000000".into());
    let seeds = campaign::range(&seeds).expect("BOWLINE_SEEDS is first..last, two numbers");
    let finished = Path::new(env!("CARGO_TARGET_TMPDIR")).join("finished-seeds.txt");
    report(&hold_all_that_are_left(seeds, &finished));
}

#[test]
fn an_interrupted_campaign_goes_on_where_it_was() {
    let list = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interrupted-campaign.txt");
    _ = fs::remove_file(&list);
    let frames = |seeds| hold_all(seeds).frames;
    assert_eq!(hold_all_that_are_left(0..30, &list).frames, frames(0..30));
    assert_eq!(hold_all_that_are_left(0..30, &list).frames, 0);
    // The kill came while a line was written.
    let text = fs::read_to_string(&list).unwrap();
    let (whole, last) = text.trim_end().rsplit_once('\n').unwrap();
    let lost = campaign::range(last).unwrap();
    fs::write(&list, format!("{whole}\n{}..", lost.start)).unwrap();
    assert_eq!(hold_all_that_are_left(0..30, &list).frames, frames(lost));
    assert_eq!(hold_all_that_are_left(20..50, &list).frames, frames(30..50));
    // Another program has to show for itself.
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replacen("program ", "program 0", 1)).unwrap();
    assert_eq!(hold_all_that_are_left(0..10, &list).frames, frames(0..10));
}

#[test]
fn each_seed_draws_its_own_mix() {
    const SEEDS: u64 = 2_000;
    let scenarios: Vec<Scenario> = (0..SEEDS).map(Scenario::draw).collect();
    let share = |what: &str, is: &dyn Fn(&Scenario) -> bool| {
        let count = scenarios.iter().filter(|scenario| is(scenario)).count() as u64;
        assert!((SEEDS / 50..=SEEDS * 49 / 50).contains(&count), "{what}: {count} of {SEEDS} seeds");
    };
    type Is<T> = (&'static str, fn(&T) -> bool);
    let faults: [Is<Faults>; 14] = [
        ("loss", |faults| faults.loss > 0.0),
        ("garble", |faults| faults.garble > 0.0),
        ("truncate", |faults| faults.truncate > 0.0),
        ("noise", |faults| faults.noise > 0.0),
        ("duplicate", |faults| faults.duplicate > 0.0),
        ("replay", |faults| faults.replay > 0.0),
        ("echo", |faults| faults.echo > 0.0),
        ("reorder", |faults| faults.reorder > 0.0),
        ("jitter", |faults| faults.jitter > 0),
        ("rate", |faults| faults.rate > 0),
        ("room", |faults| faults.room > 0),
        ("refuse", |faults| faults.refuse > 0.0),
        ("cut", |faults| faults.cut > 0.0),
        ("outages", |faults| faults.outage_every > 0),
    ];
    for (what, is) in faults {
        share(what, &|scenario| is(&scenario.faults[0]));
    }
    let plans: [Is<Plan>; 10] = [
        ("crashes", |plan| plan.crash_every > 0),
        ("clock", |plan| plan.clock.drift_ppm != 0),
        ("late", |plan| plan.late > 0),
        ("read delay", |plan| plan.read_delay > 0),
        ("memory of a size known at compile time", |plan| !matches!(plan.sizes, Sizes::Drawn(_))),
        ("no calls", |plan| plan.sizes.capacities().calls == 0),
        ("no replies", |plan| plan.sizes.capacities().replies == 0),
        ("the shortest log of transmissions", |plan| {
            let sizes = plan.sizes.capacities();
            sizes.sent == sizes.calls + sizes.replies + sizes.notify_out + 1
        }),
        ("idempotent calls", |plan| plan.work.idempotent > 0.0),
        ("deferred answers", |plan| plan.service.defer > 0.0),
    ];
    for (what, is) in plans {
        share(what, &|scenario| is(&scenario.nodes[0]));
    }
    let sizes: HashSet<_> = scenarios.iter().map(|scenario| scenario.nodes[0].sizes.capacities()).collect();
    assert!(sizes.len() > 1_000, "{} different sizes", sizes.len());
    let speeds: HashSet<_> = scenarios.iter().map(|scenario| scenario.faults[0].latency).collect();
    assert!(speeds.len() > 1_000, "{} different latencies", speeds.len());
}

/// The swarm is worth something only if everything that may happen does happen in it.
fn report(tally: &Tally) {
    println!("{tally:#?}");
    // 2^-32 for each damaged frame: a second one would be no chance.
    assert!(tally.undetected <= 1, "{} damaged frames passed a 32-bit check", tally.undetected);
}
