//! Children at guards and routes, on tower, axum and actix-web.

mod addresses;
mod app;
mod documents;
mod tickets;

use keyway::{
    ConfigError,
    children::{NewChild, Place},
    http::{Endpoint, RouteEntry, Routes},
    operations::{Needs, OperationError, Operations},
    record::Suspension,
};
use tower::{Layer, ServiceExt, service_fn};

use self::app::{ALL, App, Family, bearer, lasting, routes};
use crate::support::{HOUR, World, block_on, tenant_id};

type Bare = Endpoint<()>;

fn get() -> Bare {
    Endpoint::new("GET", ()).require(["reporting"])
}

// Declarations.

#[test]
fn misplaced_statement_on_children_stops_the_start() {
    let world = World::new();
    let fault = |endpoint: Bare| Routes::new(&world.keyring).route("/x", endpoint).table().err();
    let bare = || Endpoint::new("GET", ());
    for endpoint in [
        bare().accepts_children(),
        bare().accepts_children().any_key(),
        bare().public().accepts_children(),
        bare().custom_auth("cookie").accepts_children(),
        get().and("POST", ()).accepts_children(),
        get().and("POST", ()).public().accepts_children(),
        get().accepts_children().accepts_children(),
        get().checks_operations(),
        get().checks_operations().accepts_children(),
        get().accepts_children().checks_operations().checks_operations(),
    ] {
        assert_eq!(fault(endpoint), Some(ConfigError::Children("/x".into())));
    }
    for endpoint in [
        get().accepts_children(),
        get().accepts_children().weight(2),
        get().accepts_children().optional(),
        get().optional().accepts_children(),
        get().or("cookie").accepts_children(),
        bare().and("POST", ()).any_key().accepts_children(),
        bare().public().and("POST", ()).any_key().accepts_children(),
        get().accepts_children().checks_operations(),
    ] {
        assert_eq!(fault(endpoint), None);
    }
}

#[test]
fn table_shows_which_routes_accept_children() {
    let family = Family::new();
    let table = routes(family.guard(), |_| ()).table().unwrap();
    let text = "\
GET     /machines/{id}  reporting, or children
POST    /jobs           operator.jobs, or children
GET     /keys-only      reporting
GET     /maybe          reporting, or none, or children
*       /any            any key, or children
POST    /tools          any key, or children
";
    assert!(table.to_string().starts_with(text), "{table}");
    let accepting: Vec<_> =
        table.rows().filter(|row| row.accepts_children()).map(RouteEntry::path).collect();
    assert_eq!(accepting, ["/machines/{id}", "/jobs", "/maybe", "/any", "/tools", "/both"]);
}

// Requests.

#[test]
fn child_is_admitted_where_its_route_accepts_it() {
    let family = Family::new();
    let app = App::new(family.guard());
    let plain = bearer(&family.child(lasting(600)));
    let parent = bearer(&family.parent);
    for framework in ALL {
        let ask = |line: &str, field: &(&'static str, String)| {
            app.ask(framework, line, core::slice::from_ref(field))
        };
        for line in ["GET /machines/7", "HEAD /machines/7", "GET /maybe", "PUT /any"] {
            for field in [&plain, &parent] {
                assert_eq!(ask(line, field).status, 200, "{framework:?} {line}");
            }
        }
        // Neither the scopes of the parent nor the declarations of routes are widened.
        assert_eq!(ask("POST /jobs", &plain).short(), "403 insufficient-scope");
        assert_eq!(ask("GET /keys-only", &plain).short(), "403 other-audience");
        assert_eq!(ask("GET /keys-only", &parent).status, 200);
        assert_eq!(app.ask(framework, "GET /maybe", &[]).status, 200);

        let seen = ask("GET /machines/7", &plain).handler();
        assert_eq!((&seen["tenant"], &seen["child"]), (&"acme".into(), &true.into()));
        assert_eq!(seen["credentials"], 0, "{framework:?}");
        assert_eq!(ask("GET /machines/7", &parent).handler()["child"], false);
    }
}

#[test]
fn audience_is_met_by_host_and_name_of_the_route() {
    let family = Family::new();
    let host = Place::new().host("api").route("GET /old").checks_operations();
    let app = App::new(family.guard().accepts_children(host));
    let without_host = App::new(family.guard());
    let child = |limit: fn(NewChild) -> NewChild| bearer(&family.child(limit(lasting(600))));
    let route = child(|child| child.route("GET /machines/{id}").unwrap());
    let host = child(|child| child.host("api").unwrap());
    let both = child(|child| child.host("api").unwrap().route("GET /machines/{id}").unwrap());
    let other_host = child(|child| child.host("web").unwrap().route("GET /machines/{id}").unwrap());
    let any = child(|child| child.route("* /any").unwrap());
    let concrete = child(|child| child.route("GET /machines/7").unwrap());
    let head = child(|child| child.route("HEAD /machines/{id}").unwrap());
    // The name in the place of the guard is not that of a route.
    let old = child(|child| child.route("GET /old").unwrap());
    let operation = child(|child| child.operation("start").unwrap());
    for framework in ALL {
        let status = |app: &App, line: &str, child: &(&'static str, String)| {
            app.ask(framework, line, core::slice::from_ref(child)).short()
        };
        for (line, child, expected) in [
            ("GET /machines/7", &route, "200"),
            ("HEAD /machines/7", &route, "200"),
            ("GET /maybe", &route, "403 other-audience"),
            ("GET /machines/7", &host, "200"),
            ("GET /maybe", &host, "200"),
            ("GET /keys-only", &host, "403 other-audience"),
            ("GET /machines/7", &both, "200"),
            ("GET /maybe", &both, "403 other-audience"),
            ("GET /machines/7", &other_host, "403 other-audience"),
            ("GET /any", &any, "200"),
            ("POST /any", &any, "200"),
            ("GET /machines/7", &any, "403 other-audience"),
            ("GET /machines/7", &concrete, "403 other-audience"),
            ("GET /machines/7", &head, "403 other-audience"),
            ("GET /machines/7", &old, "403 other-audience"),
            // Only the declaration of a route says that its handler checks operations.
            ("GET /machines/7", &operation, "403 other-audience"),
            ("POST /tools", &operation, "200"),
        ] {
            assert_eq!(status(&app, line, child), expected, "{framework:?} {line}");
        }
        assert_eq!(status(&without_host, "GET /machines/7", &route), "200");
        assert_eq!(status(&without_host, "GET /machines/7", &both), "403 other-audience");
        assert_eq!(status(&without_host, "GET /machines/7", &host), "403 other-audience");
    }
}

#[test]
fn each_guard_that_a_child_passes_must_accept_it() {
    let family = Family::new();
    let child = [bearer(&family.child(lasting(600).route("GET /machines/{id}").unwrap()))];
    let parent = [bearer(&family.parent)];
    let accepting = || family.guard().accepts_children(Place::new().route("GET /machines/{id}"));
    let other = || family.guard().accepts_children(Place::new().route("GET /other"));
    let refused = "403 other-audience";
    for (outer, inner, expected) in [
        (None, None, "200"),
        (Some(accepting()), None, "200"),
        (Some(family.guard()), None, refused),
        (Some(other()), None, refused),
        (None, Some(accepting()), "200"),
        (None, Some(family.guard()), refused),
        (None, Some(other()), refused),
        (None, Some(family.guard().optional()), refused),
        (Some(accepting()), Some(accepting()), "200"),
        (Some(accepting()), Some(family.guard()), refused),
        (Some(accepting().keep_credential()), Some(accepting()), "200"),
        (Some(accepting().keep_credential()), Some(family.guard()), refused),
    ] {
        let app = App { guard: family.guard(), outer, inner };
        for framework in ALL {
            let status = |fields| app.ask(framework, "GET /machines/7", fields).short();
            assert_eq!(status(&child), expected, "{framework:?}");
            assert_eq!(status(&parent), "200", "{framework:?}");
        }
    }
}

#[test]
fn child_is_never_less_than_a_credential() {
    let family = Family::new();
    let app = App::new(family.guard().key_header("x-api-key").unwrap());
    let child = family.child(lasting(600));
    let other = family.child(lasting(601));
    let (mut forged, place) = (child.clone().into_bytes(), child.len() - 5);
    forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let own = |token: &str| ("x-api-key", token.to_owned());
    for framework in ALL {
        let status = |line: &str, fields: &[_]| app.ask(framework, line, fields).short();
        for fields in [
            [bearer(&family.parent), own(&child)],
            [bearer(&child), own(&family.parent)],
            [bearer(&child), own(&other)],
            [bearer(&child), own(&child)],
            [bearer(&child), bearer(&child)],
        ] {
            let refused = status("GET /machines/7", &fields);
            assert_eq!(refused, "400 invalid-request", "{framework:?} {fields:?}");
        }
        assert_eq!(status("GET /machines/7", &[own(&child)]), "200");
        // An optional guard does not admit a bad child as if it were none.
        assert_eq!(status("GET /maybe", &[]), "200");
        assert_eq!(status("GET /maybe", &[bearer(&forged)]), "401 invalid-token");
        let elsewhere = family.child(lasting(600).route("GET /other").unwrap());
        assert_eq!(status("GET /maybe", &[bearer(&elsewhere)]), "403 other-audience");
    }
    // A child that an outer guard has admitted, and its parent in a header that only the inner one reads.
    let outer = family.guard().accepts_children(Place::new());
    let app = App { guard: family.guard().key_header_only("x-api-key").unwrap(), ..app };
    let app = App { outer: Some(outer), ..app };
    for framework in ALL {
        let status = |fields: &[_]| app.ask(framework, "GET /machines/7", fields).short();
        for fields in [[bearer(&child), own(&family.parent)], [bearer(&family.parent), own(&child)]]
        {
            assert_eq!(status(&fields), "400 invalid-request", "{framework:?}");
        }
        assert_eq!(status(&[bearer(&child), own(&child)]), "200", "{framework:?}");
    }
}

#[test]
fn child_ends_with_its_tenant_and_with_itself() {
    let family = Family::new();
    let app = App::new(family.guard());
    let child = [bearer(&family.child(lasting(600)))];
    let tenant = tenant_id("acme");
    let status = |framework| app.ask(framework, "GET /machines/7", &child).short();
    for framework in ALL {
        assert_eq!(status(framework), "200");
        let reason = Suspension::permanent("unpaid").unwrap();
        block_on(family.world.keyring.suspend_tenant(&tenant, reason)).unwrap();
        assert_eq!(status(framework), "401 inactive-key", "{framework:?}");
        block_on(family.world.keyring.resume_tenant(&tenant)).unwrap();
        assert_eq!(status(framework), "200");
    }
    // The state counts before the place.
    let reason = Suspension::permanent("unpaid").unwrap();
    block_on(family.world.keyring.suspend_tenant(&tenant, reason)).unwrap();
    let refused = app.ask(ALL[0], "GET /keys-only", &child);
    assert_eq!(refused.short(), "401 inactive-key");
    block_on(family.world.keyring.resume_tenant(&tenant)).unwrap();
    family.world.clock.advance(HOUR);
    for framework in ALL {
        assert_eq!(status(framework), "401 inactive-key", "{framework:?}");
    }
}

// Operations.

#[test]
fn child_of_an_operation_is_checked_by_the_handler() {
    let family = Family::new();
    let table = Operations::new(family.world.keyring.policy())
        .operation("read", Needs::all(["reporting"]))
        .operation("start", Needs::all(["reporting"]))
        .build(["read", "start"])
        .unwrap();
    let child = bearer(&family.child(lasting(600).operation("read").unwrap()));
    let fields = [(child.0, child.1.as_bytes())];
    let admit = |place| block_on(family.guard().accepts_children(place).admit(&fields[..]));
    assert_eq!(admit(Place::new()).unwrap_err().status(), 403);
    let mut admission = admit(Place::new().checks_operations()).unwrap();
    let caller = admission.take_principal().unwrap();
    assert_eq!(table.check("read", Some(&caller), &[]), Ok(()));
    let refused = table.check("start", Some(&caller), &[]).unwrap_err();
    assert!(matches!(refused, OperationError::Outside(keyway::grant::OutsideGrant::Audience)));
    assert_eq!((refused.grpc_code(), refused.json_rpc_code(), refused.mcp_code()), (7, 403, 403));
    assert_eq!(refused.graphql_code(), "FORBIDDEN");
    assert_eq!(table.permitted(Some(&caller)).collect::<Vec<_>>(), ["read"]);
}

#[test]
fn guard_of_operations_admits_a_child_of_one_of_them() {
    let family = Family::new();
    let [read, start, health] = ["/factory.Machines/Read", "/factory.Machines/Start", "/health"];
    let table = Operations::new(family.world.keyring.policy())
        .operation(read, Needs::all(["reporting"]))
        .operation(start, Needs::all(["reporting"]))
        .operation(health, Needs::nothing())
        .build([read, start, health])
        .unwrap();
    let plain = family.child(lasting(600));
    let of_read = family.child(lasting(600).operation(read).unwrap());
    let of_host = family.child(lasting(600).operation(read).unwrap().host("api").unwrap());
    let code = |guard: &keyway::Guard, path: &str, token: &str| {
        let services = service_fn(async |_: http::Request<()>| {
            Ok::<_, core::convert::Infallible>(http::Response::new(String::new()))
        });
        let request = http::Request::post(path)
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {token}"));
        let services = guard.operations(&table).unwrap().layer(services);
        let response = block_on(services.oneshot(request.body(()).unwrap())).unwrap();
        let code = response.headers().get("grpc-status");
        code.map_or("0".to_owned(), |code| code.to_str().unwrap().into())
    };
    let told = family.guard().accepts_children(Place::new());
    let at_host = family.guard().accepts_children(Place::new().host("api"));
    let denied = "7";
    for (guard, path, token, expected) in [
        (&told, read, &plain, "0"),
        (&told, start, &plain, "0"),
        (&told, read, &of_read, "0"),
        (&told, start, &of_read, denied),
        (&told, read, &of_host, denied),
        (&at_host, read, &of_host, "0"),
        (&at_host, start, &of_host, denied),
        (&told, read, &family.parent, "0"),
        (&family.guard(), read, &family.parent, "0"),
        (&family.guard(), read, &plain, denied),
        (&family.guard(), read, &of_read, denied),
        // A public operation looks at no credential.
        (&family.guard(), health, &of_read, "0"),
    ] {
        assert_eq!(code(guard, path, token), expected, "{path}");
    }
}
