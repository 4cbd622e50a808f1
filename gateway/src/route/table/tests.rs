use super::*;

const KNOWN: [&str; 7] = ["echo", "tools/echo", "tools@1.0/echo", "tools", "tools@1.0", "a/invoke", "app"];

fn asked<'a>(layout: &Layout, method: &Method, path: &'a str) -> Target<'a> {
    route(layout, method, path, |id| KNOWN.contains(&id))
}

fn target(path: &str) -> Target<'_> {
    asked(&Layout::Host, &Method::GET, path)
}

fn invoke(id: &str) -> Target<'static> {
    Target::Invoke(Cow::Owned(id.to_owned()))
}

fn place<'a>(id: &'a str, prefix: &'a str, rest: &'a str) -> Place<'a> {
    Place { id: Cow::Borrowed(id), prefix, rest }
}

fn control() -> Target<'static> {
    Target::Control { strip: 0 }
}

fn single(base: &str, root: bool, multiplexed: bool) -> Layout {
    Layout::Single(Single { id: "app".into(), base: base.into(), root, multiplexed })
}

#[test]
fn ids_are_found_raw_and_encoded() {
    for path in [
        "/agents/tools@1.0/echo/invoke",
        "/agents/tools%401.0/echo/invoke",
        "/agents/tools@1.0%2Fecho/invoke",
        "/agents/tools%401.0%2fecho/invoke",
    ] {
        assert_eq!(target(path), invoke("tools@1.0/echo"), "{path}");
    }
    assert_eq!(target("/agents/echo/invoke"), invoke("echo"));
    assert_eq!(target("/agents/nobody/invoke"), invoke("nobody"));
    assert_eq!(target("/agents/no/body/invoke"), invoke("no/body"));
}

#[test]
fn the_longest_known_id_counts() {
    assert_eq!(target("/agents/tools/echo/invoke"), invoke("tools/echo"));
    assert_eq!(target("/agents/tools/invoke"), invoke("tools"));
    assert_eq!(target("/agents/a/invoke/invoke"), invoke("a/invoke"));
    assert_eq!(target("/agents/tools/api/x"), Target::Rest(place("tools", "/agents/tools", "/api/x")));
    assert_eq!(
        target("/agents/tools/echo/ui/x"),
        Target::Ui(place("tools/echo", "/agents/tools/echo", "/x")),
        "an agent's id is an id of its package"
    );
}

#[test]
fn a_path_of_slashes_costs_no_more_look_ups_than_an_id_has_segments() {
    let asked = std::cell::Cell::new(0);
    let path = format!("/agents/{}invoke", "a/".repeat(8_000));
    let target = route(&Layout::Host, &Method::POST, &path, |_| {
        asked.set(asked.get() + 1);
        false
    });
    assert!(matches!(target, Target::Invoke(_)), "{target:?}");
    assert!(asked.get() <= LONGEST_ID + 1, "{} look-ups", asked.get());
}

#[test]
fn management_and_nothing_are_told_apart() {
    for path in ["/health", "/runtime/info", "/agents", "/agents/echo", "/agents/echo/health", "/metrics"] {
        assert_eq!(target(path), control(), "{path}");
    }
    for path in ["/", "/healthz", "/agents/", "/agents//invoke", "/agents/%ff/invoke", "/runtimes", "/meta"] {
        assert_eq!(target(path), Target::Nothing, "{path}");
    }
    let envelope = Target::Envelope(Cow::Borrowed("tools@1.0/echo"));
    assert_eq!(target("/runtime/agents/tools@1.0%2Fecho/invoke"), envelope);
    assert_eq!(target("/runtime/agents/echo/enable"), control());
}

#[test]
fn a_prefix_is_taken_away_once_and_the_rest_stays_as_it_was_written() {
    for (path, prefix, rest) in [
        ("/agents/tools/", "/agents/tools", "/"),
        ("/agents/tools/api/a%2Fb//c;d", "/agents/tools", "/api/a%2Fb//c;d"),
        ("/agents/tools//api", "/agents/tools", "//api"),
        ("/agents/tools/agents/tools/api", "/agents/tools", "/agents/tools/api"),
        ("/agents/tools/invoke/more", "/agents/tools", "/invoke/more"),
        ("/agents/tools/health/more", "/agents/tools", "/health/more"),
        ("/agents/tools/uix", "/agents/tools", "/uix"),
    ] {
        assert_eq!(target(path), Target::Rest(place("tools", prefix, rest)), "{path}");
    }
    assert_eq!(
        target("/agents/tools%401.0/api/x"),
        Target::Rest(place("tools@1.0", "/agents/tools%401.0", "/api/x"))
    );
    assert_eq!(
        target("/agents/tools%2Fecho/api"),
        Target::Rest(place("tools/echo", "/agents/tools%2Fecho", "/api"))
    );
    assert_eq!(target("/agents/nobody/api"), Target::Rest(place("nobody", "/agents/nobody", "/api")));
}

#[test]
fn an_agent_is_looked_at_with_get_and_everything_else_is_its_packages() {
    let at = |method, path| asked(&Layout::Host, &method, path);
    assert_eq!(at(Method::GET, "/agents/tools"), control());
    assert_eq!(at(Method::HEAD, "/agents/tools"), control());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        assert_eq!(
            at(method.clone(), "/agents/tools"),
            Target::Rest(place("tools", "/agents/tools", "")),
            "{method}"
        );
    }
    assert_eq!(at(Method::GET, "/agents/tools/"), Target::Rest(place("tools", "/agents/tools", "/")));
}

#[test]
fn ui_and_grpc_have_places_of_their_own() {
    for (path, rest) in
        [("/agents/tools/ui", ""), ("/agents/tools/ui/", "/"), ("/agents/tools/ui/a/b", "/a/b")]
    {
        assert_eq!(target(path), Target::Ui(place("tools", "/agents/tools", rest)), "{path}");
    }
    assert_eq!(
        target("/agents/tools/a2a/pixell.agent.AgentService/Invoke"),
        Target::A2a(place("tools", "/agents/tools", "/pixell.agent.AgentService/Invoke"))
    );
}

#[test]
fn one_package_has_its_routes_below_its_base_path() {
    let layout = single("/agents/app", false, true);
    let at = |path| asked(&layout, &Method::GET, path);
    assert_eq!(at("/agents/app/api/x"), Target::Rest(place("app", "/agents/app", "/api/x")));
    assert_eq!(at("/agents/app/ui/x"), Target::Ui(place("app", "/agents/app", "/x")));
    assert_eq!(at("/agents/app/health"), control(), "the agent's");
    assert_eq!(at("/agents/app"), control());
    for path in
        ["/agents/app/meta", "/agents/app/a2a/health", "/agents/app/ui/health", "/agents/app/runtime/live"]
    {
        assert_eq!(at(path), Target::Control { strip: "/agents/app".len() }, "{path}");
    }
    for path in ["/", "/meta", "/a2a/health", "/ui/health", "/health", "/agents/tools/health"] {
        assert_eq!(at(path), control(), "{path}");
    }
    for path in ["/api/x", "/ui/", "/a2a/x"] {
        assert_eq!(at(path), Target::Nothing, "{path}: the root is not its");
    }
}

#[test]
fn any_base_path_will_do_and_the_usual_one_goes_on() {
    let layout = single("/team/one", false, true);
    let at = |path| asked(&layout, &Method::POST, path);
    assert_eq!(at("/team/one/api/x"), Target::Rest(place("app", "/team/one", "/api/x")));
    assert_eq!(at("/team/one"), Target::Rest(place("app", "/team/one", "")));
    assert_eq!(at("/team/one/invoke"), invoke("app"));
    assert_eq!(at("/team/one/ui/x"), Target::Ui(place("app", "/team/one", "/x")));
    assert_eq!(at("/team/one/a2a/S/M"), Target::A2a(place("app", "/team/one", "/S/M")));
    assert_eq!(at("/team/one/team/one/api"), Target::Rest(place("app", "/team/one", "/team/one/api")));
    for path in ["/team/one/health", "/team/one/meta", "/team/one/runtime/info"] {
        assert_eq!(at(path), Target::Control { strip: "/team/one".len() }, "{path}");
    }
    let envelope = Target::Envelope(Cow::Borrowed("app"));
    assert_eq!(at("/team/one/runtime/agents/app/invoke"), envelope);
    assert_eq!(at("/agents/app/api/x"), Target::Rest(place("app", "/agents/app", "/api/x")));
    assert_eq!(at("/team/onemore/api"), Target::Nothing);
    assert_eq!(
        asked(&single("/agents/other", false, true), &Method::GET, "/agents/other/api"),
        Target::Rest(place("app", "/agents/other", "/api"))
    );
}

#[test]
fn at_the_root_what_is_built_in_wins() {
    for layout in [single("", false, true), single("/agents/app", true, true)] {
        let at = |path| asked(&layout, &Method::GET, path);
        assert_eq!(at("/api/x"), Target::Rest(place("app", "", "/api/x")));
        assert_eq!(at("/"), Target::Rest(place("app", "", "/")));
        assert_eq!(at("/ui/x"), Target::Ui(place("app", "", "/x")));
        assert_eq!(at("/a2a/S/M"), Target::A2a(place("app", "", "/S/M")));
        assert_eq!(at("/invoke"), invoke("app"));
        for path in ["/health", "/meta", "/a2a/health", "/ui/health", "/runtime/x", "/metrics", "/agents"] {
            assert_eq!(at(path), control(), "{path}");
        }
    }
}

#[test]
fn a_ui_with_a_port_of_its_own_is_not_below_rest() {
    let layout = single("/agents/app", true, false);
    let at = |path| asked(&layout, &Method::GET, path);
    assert_eq!(at("/agents/app/ui/x"), Target::Rest(place("app", "/agents/app", "/ui/x")));
    assert_eq!(at("/ui/x"), Target::Rest(place("app", "", "/ui/x")));
    assert_eq!(at("/ui/health"), control());
}
