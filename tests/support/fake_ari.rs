//! A fake Asterisk: REST and the event WebSocket on one loopback port, with the reply and event
//! shapes of the real one (`tests/fixtures/ari`). It does what it is asked to, remembers every
//! request, and can be told to misbehave: see [`Rule`].

#[path = "fake_http.rs"]
mod fake_http;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fake_http::{HttpRequest, read_request};
use serde_json::{Value, json};
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::StatusCode;

/// Nothing in a test takes longer, on the slowest machine.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);

const CREDENTIALS: &str = "Basic Z2F0ZXdheTpzZWNyZXQ=";
const EVENTS: &str = include_str!("../fixtures/ari/events.json");
const REPLIES: &str = include_str!("../fixtures/ari/replies.json");

/// What happens to the next requests whose method and path contain both texts.
pub(crate) struct Rule {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// Requests it still applies to.
    pub(crate) times: usize,
    pub(crate) action: Action,
}

/// A way to misbehave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// All callers hang up before the request is looked at.
    CallersHangUp,
    /// The request is done, but the connection breaks before the reply.
    DropReply,
    /// The request waits until [`FakeAri::release`].
    Hold,
    /// The request is not done; this is the status.
    Status(u16),
    /// The request is done, but the media channel does not come into the application.
    WithholdMedia,
}

/// Asterisk, as one gateway sees it.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) channels: BTreeMap<String, FakeChannel>,
    /// By id: who is in it.
    pub(crate) bridges: BTreeMap<String, BTreeSet<String>>,
    /// "POST /channels/1/answer", in the order of arrival, with the status of the reply.
    pub(crate) requests: Vec<(String, u16)>,
    pub(crate) rules: Vec<Rule>,
    /// Event sockets opened so far.
    pub(crate) connections: usize,
    /// The event socket is read no more: pings stay unanswered.
    pub(crate) is_deaf: bool,
    /// Event sockets that are still to be refused with 401.
    pub(crate) refuses: usize,
    /// The ports that the next media channels send from; made-up ones after that.
    pub(crate) media_ports: VecDeque<u16>,
    socket: Option<TcpStream>,
    held: bool,
    is_down: bool,
    /// TCP connections of this life, to be cut when it ends.
    streams: Vec<TcpStream>,
    numbers: u16,
}

/// A caller's channel or a media channel.
#[derive(Clone, Debug)]
pub(crate) struct FakeChannel {
    name: String,
    state: &'static str,
    /// What was dialled; `None` for a media channel.
    dialled: Option<String>,
}

/// The running fake. It ends with the test's process.
pub(crate) struct FakeAri {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    changed: Condvar,
}

impl FakeAri {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        Self::serve(listener)
    }

    /// Nothing answers at the address until [`Self::boot`].
    pub(crate) fn start_down() -> Self {
        let fake = Self::start();
        fake.world().is_down = true;
        fake
    }

    fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            world: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut world = accepting.world.lock().expect("not poisoned");
                if world.is_down {
                    continue; // closed at once
                }
                world.streams.extend(stream.try_clone());
                drop(world);
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().expect("not poisoned")
    }

    /// Waits until `done` holds.
    pub(crate) fn wait(&self, what: &str, mut done: impl FnMut(&World) -> bool) {
        let deadline = Instant::now() + WAIT_MAX;
        let mut world = self.world();
        while !done(&world) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{what}: never; requests: {:#?}",
                world.requests
            );
            world = self
                .shared
                .changed
                .wait_timeout(world, left)
                .expect("not poisoned")
                .0;
        }
    }

    /// Waits until no channel and no bridge is left.
    pub(crate) fn wait_empty(&self) {
        self.wait("no channel and no bridge", |world| {
            world.channels.is_empty() && world.bridges.is_empty()
        });
    }

    /// Waits for the event socket to be opened for the `n`th time.
    pub(crate) fn wait_connected(&self, n: usize) {
        self.wait("an event socket", |world| {
            world.connections >= n && world.socket.is_some()
        });
    }

    pub(crate) fn add_rule(&self, method: &'static str, path: &'static str, action: Action) {
        self.world().rules.push(Rule {
            method,
            path,
            times: 1,
            action,
        });
    }

    /// A call to `number`: the id of its channel.
    pub(crate) fn call(&self, number: &str) -> String {
        let mut world = self.world();
        let id = format!("1795330596.{}", world.next_number());
        let name = format!("PJSIP/anonymous-{id}");
        let channel = FakeChannel {
            name,
            state: "Ring",
            dialled: Some(number.to_owned()),
        };
        world.channels.insert(id.clone(), channel);
        world.tell_stasis_start(&id);
        self.shared.changed.notify_all();
        id
    }

    /// The caller hangs up.
    pub(crate) fn hang_up(&self, caller: &str) {
        self.world().delete_channel(caller);
        self.shared.changed.notify_all();
    }

    /// Sends an event as it stands.
    pub(crate) fn tell(&self, text: &str) {
        self.world().send(text);
    }

    /// An event of this kind about a channel.
    pub(crate) fn tell_channel(&self, kind: &str, channel: &str) {
        self.world().tell_channel(kind, channel);
    }

    /// Held requests go on.
    pub(crate) fn release(&self) {
        self.world().held = false;
        self.shared.changed.notify_all();
    }

    /// Cuts the event socket, without a goodbye.
    pub(crate) fn drop_socket(&self) {
        let socket = self.world().socket.take();
        if let Some(socket) = socket {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Dies: all is forgotten, every connection is cut.
    pub(crate) fn crash(&self) {
        let mut world = self.world();
        world.channels.clear();
        world.bridges.clear();
        world.socket = None;
        world.is_down = true;
        for stream in world.streams.drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        self.shared.changed.notify_all();
    }

    /// Comes back after [`Self::crash`].
    pub(crate) fn boot(&self) {
        self.world().is_down = false;
    }

    /// What was asked of it so far, lists left out.
    pub(crate) fn requests(&self) -> Vec<String> {
        let world = self.world();
        let requests = world.requests.iter().map(|(request, _)| request);
        requests
            .filter(|request| !request.starts_with("GET"))
            .cloned()
            .collect()
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let mut head = [0; 4096];
        let Ok(count) = stream.peek(&mut head) else {
            return;
        };
        if head[..count].starts_with(b"GET /ari/events") {
            self.serve_events(stream);
        } else {
            while let Some(request) = read_request(&mut stream) {
                let Some(reply) = self.reply(&request) else {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    return;
                };
                if stream.write_all(&reply).is_err() {
                    return;
                }
            }
        }
    }

    #[allow(clippy::result_large_err, reason = "tungstenite's callback type")]
    fn serve_events(&self, stream: TcpStream) {
        let Ok(events) = stream.try_clone() else {
            return;
        };
        let mut world = self.world.lock().expect("not poisoned");
        let is_refused = world.refuses > 0;
        world.refuses = world.refuses.saturating_sub(1);
        drop(world);
        let check = |request: &Request, response: Response| {
            assert!(
                request
                    .uri()
                    .query()
                    .is_some_and(|query| query.contains("app=diglot"))
            );
            assert_eq!(request.headers()["Authorization"], CREDENTIALS);
            if is_refused {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = StatusCode::UNAUTHORIZED;
                return Err(refusal);
            }
            Ok(response)
        };
        let Ok(mut socket) = tungstenite::accept_hdr(stream, check) else {
            return;
        };
        let mut world = self.world.lock().expect("not poisoned");
        // Asterisk: the older socket of an application is told, and gets nothing more.
        world.send(r#"{"type":"ApplicationReplaced","application":"diglot"}"#);
        world.socket = Some(events);
        world.connections += 1;
        drop(world);
        self.changed.notify_all();
        while socket.read().is_ok() {
            if std::mem::take(&mut self.world.lock().expect("not poisoned").is_deaf) {
                std::thread::park(); // for good: the socket stays open, and silent
            }
        }
    }

    /// `None`: the connection breaks.
    fn reply(&self, request: &HttpRequest) -> Option<Vec<u8>> {
        assert_eq!(request.authorization, CREDENTIALS);
        let mut world = self.world.lock().expect("not poisoned");
        let action = world.take_rule(request);
        if action == Some(Action::Hold) {
            world.held = true;
            self.changed.notify_all();
            let is_held = |world: &mut World| world.held;
            let wait = self.changed.wait_timeout_while(world, WAIT_MAX, is_held);
            world = wait.expect("not poisoned").0;
        }
        if action == Some(Action::CallersHangUp) {
            let callers = world
                .channels
                .iter()
                .filter(|(_, channel)| channel.dialled.is_some());
            for caller in callers.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                world.delete_channel(&caller);
            }
        }
        let (status, body) = match action {
            Some(Action::Status(status)) => (status, json!({ "message": "as the test wants" })),
            action => world.perform(request, action),
        };
        let request = format!("{} {}", request.method, request.target);
        world.requests.push((request, status));
        self.changed.notify_all();
        if action == Some(Action::DropReply) {
            return None;
        }
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n");
        Some(format!("{head}Content-type: application/json\r\n\r\n{body}").into_bytes())
    }
}

impl World {
    /// Whether a request is waiting by [`Action::Hold`].
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    fn next_number(&mut self) -> u16 {
        self.numbers += 1;
        self.numbers
    }

    fn take_rule(&mut self, request: &HttpRequest) -> Option<Action> {
        let rule = self.rules.iter_mut().find(|rule| {
            rule.times > 0 && request.method == rule.method && request.target.contains(rule.path)
        })?;
        rule.times -= 1;
        Some(rule.action)
    }

    fn perform(&mut self, request: &HttpRequest, action: Option<Action>) -> (u16, Value) {
        let path: Vec<&str> = request.path().split('/').skip(1).collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["ari", "channels"]) => {
                let channels = self.channels.keys().map(|id| self.channel_json(id));
                (200, channels.collect())
            }
            ("GET", ["ari", "bridges"]) => {
                (200, self.bridges.keys().map(|id| bridge_json(id)).collect())
            }
            ("GET", ["ari", "applications", "diglot"]) => {
                let mut reply = fixture(REPLIES, "GET /applications/{app}");
                reply["name"] = json!("diglot");
                reply["channel_ids"] = self.channels.keys().cloned().collect();
                (200, reply)
            }
            ("POST", ["ari", "channels", "externalMedia"]) => {
                self.create_media(request, action != Some(Action::WithholdMedia))
            }
            ("POST", ["ari", "channels", id, "answer"]) => match self.channels.get_mut(*id) {
                Some(channel) => {
                    channel.state = "Up";
                    self.tell_channel("ChannelStateChange", id);
                    (204, Value::Null)
                }
                None => not_found(404, "Channel"),
            },
            ("POST", ["ari", "bridges"]) => {
                let id = request.parameter("bridgeId");
                self.bridges.insert(id.clone(), BTreeSet::new());
                (200, bridge_json(&id))
            }
            ("POST", ["ari", "bridges", id, "addChannel"]) => self.add_channels(request, id),
            ("DELETE", ["ari", "channels", id]) => {
                if self.delete_channel(id) {
                    (204, Value::Null)
                } else {
                    not_found(404, "Channel")
                }
            }
            ("DELETE", ["ari", "bridges", id]) => {
                if self.delete_bridge(id) {
                    (204, Value::Null)
                } else {
                    not_found(404, "Bridge")
                }
            }
            _ => not_found(404, "Resource"),
        }
    }

    fn create_media(&mut self, request: &HttpRequest, starts: bool) -> (u16, Value) {
        let id = request.parameter("channelId");
        let host = request.parameter("external_host");
        let name = format!("UnicastRTP/{host}-0x7f3404002050");
        self.channels.insert(
            id.clone(),
            FakeChannel {
                name: name.clone(),
                state: "Up",
                dialled: None,
            },
        );
        let mut reply = fixture(REPLIES, "POST /channels/externalMedia");
        reply["id"] = json!(id);
        reply["name"] = json!(name);
        let made_up = 18_000 + self.next_number();
        let port = self.media_ports.pop_front().unwrap_or(made_up);
        reply["channelvars"]["UNICASTRTP_LOCAL_PORT"] = json!(port.to_string());
        if starts {
            for kind in ["ChannelVarset", "StasisStart media"] {
                self.tell_channel(kind, &id);
            }
        }
        (200, reply)
    }

    fn add_channels(&mut self, request: &HttpRequest, id: &str) -> (u16, Value) {
        let channels = request.parameter("channel");
        let channels: Vec<&str> = channels.split(',').collect();
        if !self.bridges.contains_key(id) {
            return not_found(404, "Bridge");
        }
        if !channels
            .iter()
            .all(|channel| self.channels.contains_key(*channel))
        {
            return not_found(400, "Channel");
        }
        for channel in channels {
            for members in self.bridges.values_mut() {
                members.remove(channel);
            }
            if let Some(members) = self.bridges.get_mut(id) {
                members.insert(channel.to_owned());
            }
            self.tell_channel("ChannelEnteredBridge", channel);
        }
        (204, Value::Null)
    }

    fn delete_channel(&mut self, id: &str) -> bool {
        let Some(channel) = self.channels.get(id).cloned() else {
            return false;
        };
        self.tell_channel("ChannelHangupRequest", id);
        let mut was_bridged = false;
        for members in self.bridges.values_mut() {
            was_bridged |= members.remove(id);
        }
        if was_bridged {
            self.tell_channel("ChannelLeftBridge", id);
        }
        self.tell_channel("StasisEnd", id);
        if channel.dialled.is_none() {
            self.tell_channel("ChannelDestroyed", id);
        }
        self.channels.remove(id);
        true
    }

    fn delete_bridge(&mut self, id: &str) -> bool {
        let existed = self.bridges.remove(id).is_some();
        if existed {
            let mut event = fixture(EVENTS, "BridgeDestroyed");
            event["bridge"]["id"] = json!(id);
            self.send(&event.to_string());
        }
        existed
    }

    fn tell_stasis_start(&mut self, id: &str) {
        let dialled = self.channels[id].dialled.clone();
        let mut event = fixture(EVENTS, "StasisStart");
        event["channel"] = self.channel_json(id);
        event["args"] = json!([dialled]);
        self.send(&event.to_string());
    }

    fn tell_channel(&mut self, kind: &str, id: &str) {
        let mut event = fixture(EVENTS, kind);
        event["channel"] = self.channel_json(id);
        self.send(&event.to_string());
    }

    fn channel_json(&self, id: &str) -> Value {
        let channel = &self.channels[id];
        let kind = if channel.dialled.is_some() {
            "StasisStart"
        } else {
            "StasisStart media"
        };
        let mut value = fixture(EVENTS, kind)["channel"].take();
        value["id"] = json!(id);
        value["name"] = json!(channel.name);
        value["state"] = json!(channel.state);
        let arguments = channel.dialled.iter().map(|dialled| format!(",{dialled}"));
        let data = format!("diglot{}", arguments.collect::<String>());
        value["dialplan"]["app_data"] = json!(data);
        value
    }

    /// One unmasked text frame (RFC 6455 §5.2); lost if nobody is connected.
    fn send(&mut self, text: &str) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let mut frame = vec![0x81];
        match text.len() {
            length @ 0..126 => frame.push(length as u8),
            length @ 126..0x1_0000 => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(text.as_bytes());
        let _ = socket.write_all(&frame);
    }
}

fn fixture(file: &str, name: &str) -> Value {
    let mut all: Value = serde_json::from_str(file).expect("fixtures are JSON");
    all[name].take()
}

fn bridge_json(id: &str) -> Value {
    let mut bridge = fixture(REPLIES, "POST /bridges");
    bridge["id"] = json!(id);
    bridge
}

fn not_found(status: u16, what: &str) -> (u16, Value) {
    (status, json!({ "message": format!("{what} not found") }))
}
