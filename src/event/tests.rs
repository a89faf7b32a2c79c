use std::string::ToString;

use super::*;

#[test]
fn an_error_reads_as_a_sentence_that_says_why() {
    let reasons = [
        (Reason::Unreachable, "the peer was not reached in time"),
        (Reason::DeadlineExceeded, "no answer came in time"),
        (Reason::Cancelled, "it was cancelled"),
        (Reason::PeerRestarted, "the peer restarted"),
        (Reason::PeerLost, "the peer fell silent"),
        (Reason::Replaced, "the peer began a new session"),
        (Reason::Closed, "the session was closed"),
        (Reason::TooLarge { limit: 32 }, "the peer takes at most 32 bytes of payload"),
        (Reason::Refused(Refusal::Busy), "the peer refused: it is busy"),
        (Reason::Refused(Refusal::Expired), "the peer refused: the caller's time was over"),
        (Reason::Refused(Refusal::UnknownKey), "the peer refused: it has no such endpoint"),
        (Reason::Refused(Refusal::Malformed), "the peer refused: it cannot decode the payload"),
        (Reason::Refused(Refusal::Cancelled), "the peer refused: it was cancelled"),
        (Reason::Refused(Refusal::ResponseTooLarge), "the peer refused: the response does not fit a frame"),
        (Reason::SchemaMismatch, "the peer was built from another declaration of it"),
        (Reason::MalformedResponse, "the response cannot be decoded"),
        (Reason::Full, "every slot is taken"),
    ];
    for (reason, why) in reasons {
        for (executed, word) in [(Executed::No, "no"), (Executed::Maybe, "maybe"), (Executed::Yes, "yes")] {
            let error = CallError { reason, executed };
            assert_eq!(error.to_string(), std::format!("call failed because {why} (executed: {word})"));
        }
    }
}

#[test]
fn what_was_not_sent_says_why_and_is_a_call_that_was_not_executed() {
    let errors = [
        (SendError::Full, Reason::Full, "every slot is taken"),
        (SendError::TooLarge { limit: 48 }, Reason::TooLarge { limit: 48 }, "at most 48 bytes of payload fit"),
        (SendError::Closed, Reason::Closed, "this node was closed"),
    ];
    for (error, reason, why) in errors {
        assert_eq!(error.to_string(), std::format!("not sent because {why}"));
        assert_eq!(CallError::from(error), CallError { reason, executed: Executed::No });
    }
}

#[test]
fn a_response_that_was_not_sent_says_why() {
    let stale = "not sent because the request no longer waits for an answer";
    assert_eq!(RespondError::Stale.to_string(), stale);
    let too_large = "not sent because at most 48 bytes of payload fit";
    assert_eq!(RespondError::TooLarge { limit: 48 }.to_string(), too_large);
}
