//! Goal: a list of channels is judged against what was so when it was asked for, and nothing that
//! comes out of order is lost or harmed. Method: the state machine alone, step by step.

#[path = "support/config.rs"]
mod config;

use diglot::call::ari::{AriEvent, Channel, Reply, Request, SeenChannel, Snapshot, Ticket};
use diglot::call::{CallCount, Calls, Change, EndReason, Input, Output};
use diglot_rt::units::Micros;

/// The state machine, its time, and what it asked for last.
struct Table {
    calls: Calls,
    now: Micros,
    requests: Vec<(Ticket, Request)>,
    changes: Vec<Change>,
}

impl Table {
    fn new() -> Self {
        let calls = Calls::new(&config::with_ari("http://127.0.0.1:1", 4), 1);
        Self {
            calls,
            now: Micros(1),
            requests: Vec::new(),
            changes: Vec::new(),
        }
    }

    fn feed(&mut self, input: Input) {
        self.now = self.now.plus_ms(1);
        self.calls.handle(self.now, input);
        while let Some(output) = self.calls.poll_output() {
            match output {
                Output::Change(change) => self.changes.push(change),
                Output::Event(_) => {}
                Output::Request { ticket, request } => self.requests.push((ticket, request)),
            }
        }
    }

    fn tell(&mut self, event: AriEvent) {
        self.feed(Input::Event(event));
    }

    fn call(&mut self, id: &str) {
        self.tell(AriEvent::StasisStart(caller(id)));
    }

    /// Takes the oldest request that waits.
    fn take(&mut self) -> (Ticket, Request) {
        assert!(!self.requests.is_empty(), "nothing was asked for");
        self.requests.remove(0)
    }

    fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.feed(Input::Reply { ticket, reply });
    }

    /// Answers the requests of a set-up well: the ids of the media channel and the bridge.
    fn set_up(&mut self) -> [String; 2] {
        loop {
            let (ticket, request) = self.take();
            match request {
                Request::CreateMedia { channel, .. } => {
                    self.reply(ticket, Reply::MediaCreated(([127, 0, 0, 1], 18_000).into()));
                    self.tell(AriEvent::StasisStart(media(&channel)));
                }
                Request::AddToBridge {
                    bridge,
                    channels: [_, media],
                } => {
                    self.reply(ticket, Reply::Status(204));
                    return [media, bridge];
                }
                _ => self.reply(ticket, Reply::Status(200)),
            }
        }
    }
}

fn caller(id: &str) -> Channel {
    let extension = Some("7777".to_owned());
    Channel {
        id: id.to_owned(),
        name: "PJSIP/x".to_owned(),
        caller: String::new(),
        extension,
    }
}

fn media(id: &str) -> Channel {
    let name = "UnicastRTP/127.0.0.1:5000-0x1".to_owned();
    Channel {
        id: id.to_owned(),
        name,
        caller: String::new(),
        extension: None,
    }
}

fn seen(channel: Channel) -> SeenChannel {
    SeenChannel {
        channel,
        in_app: true,
    }
}

#[test]
fn a_call_that_came_after_the_list_was_asked_for_is_not_judged_by_it() {
    let mut table = Table::new();
    table.feed(Input::Connected);
    let (list, request) = table.take();
    assert_eq!(request, Request::List);
    table.call("1");
    table.set_up();
    table.reply(list, Reply::Listed(Snapshot::default()));
    assert!(
        matches!(table.changes[..], [Change::StartLeg { .. }]),
        "{:?}",
        table.changes
    );
    assert_eq!(table.requests, []);
}

#[test]
fn a_call_that_is_missing_in_the_list_ends_and_what_it_had_is_deleted() {
    let mut table = Table::new();
    table.feed(Input::Connected);
    let (list, _) = table.take();
    table.reply(list, Reply::Listed(Snapshot::default()));
    table.call("1");
    let [media, bridge] = table.set_up();
    table.feed(Input::Disconnected);
    assert_eq!(
        table.changes.len(),
        1,
        "it goes on without the event socket"
    );
    table.feed(Input::Connected);
    let (list, _) = table.take();
    let snapshot = Snapshot {
        channels: vec![seen(self::media(&media))],
        bridges: vec![bridge.clone()],
    };
    table.reply(list, Reply::Listed(snapshot));
    assert!(matches!(
        table.changes[1],
        Change::EndLeg {
            reason: EndReason::Vanished,
            ..
        }
    ));
    let (ticket, request) = table.take();
    assert!(matches!(request, Request::DeleteChannel { channel, .. } if channel == media));
    table.reply(ticket, Reply::Status(204));
    assert_eq!(table.take().1, Request::DeleteBridge { bridge });
    assert_eq!(
        table.requests,
        [],
        "the caller's channel is not ours any more"
    );
}

#[test]
fn an_outdated_list_does_not_bring_back_who_left() {
    let mut table = Table::new();
    table.call("1");
    table.feed(Input::Connected);
    let (answer, _) = table.take();
    let (list, _) = table.take();
    table.tell(AriEvent::Gone {
        channel: "1".to_owned(),
    });
    table.reply(answer, Reply::Status(404));
    assert!(table.calls.is_empty());
    let channels = vec![seen(caller("1"))];
    table.reply(
        list,
        Reply::Listed(Snapshot {
            channels,
            bridges: Vec::new(),
        }),
    );
    assert!(table.calls.is_empty());
    assert_eq!(table.requests, []);
}

#[test]
fn a_media_channel_that_comes_after_its_call_is_deleted_at_once() {
    let mut table = Table::new();
    table.call("1");
    let media = loop {
        let (ticket, request) = table.take();
        if let Request::CreateMedia { channel, .. } = request {
            table.reply(ticket, Reply::NoReply);
            break channel;
        }
        table.reply(ticket, Reply::Status(200));
    };
    while !table.requests.is_empty() {
        let (ticket, _) = table.take();
        table.reply(ticket, Reply::Status(404));
    }
    assert!(table.calls.is_empty());
    table.tell(AriEvent::StasisStart(self::media(&media)));
    let (_, request) = table.take();
    assert!(matches!(request, Request::DeleteChannel { channel, .. } if channel == media));
    assert_eq!(table.calls.counts().value(CallCount::Leftover), 1);
}

#[test]
fn a_caller_who_comes_back_while_the_old_call_is_deleted_is_a_new_call() {
    let mut table = Table::new();
    table.call("1");
    table.set_up();
    table.tell(AriEvent::Gone {
        channel: "1".to_owned(),
    });
    table.call("1");
    let (old, request) = table.take();
    assert!(matches!(request, Request::DeleteChannel { .. }));
    let (_, request) = table.take();
    assert_eq!(
        request,
        Request::Answer {
            channel: "1".to_owned()
        }
    );
    table.reply(old, Reply::Status(204));
    let (old, _) = table.take();
    table.reply(old, Reply::Status(204));
    assert!(!table.calls.is_empty());
    table.tell(AriEvent::Gone {
        channel: "1".to_owned(),
    });
    assert_eq!(table.calls.counts().value(CallCount::Ended), 1);
}

#[test]
fn a_list_that_fails_is_asked_for_again() {
    let mut table = Table::new();
    table.feed(Input::Connected);
    for reply in [Reply::NoReply, Reply::Status(404), Reply::Status(500)] {
        let (list, request) = table.take();
        assert_eq!(request, Request::List);
        table.reply(list, reply);
        assert_eq!(table.requests, [], "after a pause");
        table.now = table.calls.next_deadline().expect("a next try");
        table.feed(Input::Tick);
    }
    assert_eq!(table.take().1, Request::List);
}
