//! What an operation of the API says of itself. The router and the OpenAPI document are made from the same
//! table, so neither can know of one that the other does not.

use crate::{app::App, auth, tokens::Scope};
use axum::{
    Router,
    handler::Handler,
    http::Method,
    middleware,
    routing::{self, MethodRouter},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::sync::Arc;

/// Makes a type's schema in a document.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Who may use an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody who reaches the server.
    Open,
    /// Everybody on this machine; others need `read`.
    OpenOnLoopback,
    /// Whoever has at least this scope.
    Scope(Scope),
    /// An attempt by its own token, while it has its lease.
    Attempt,
}

/// One method of one path.
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// With parameters as `{name}`, a rest as `{*name}`.
    pub(crate) path: &'static str,
    /// Its name in clients that are made from the document.
    pub(crate) id: &'static str,
    /// One sentence.
    pub(crate) summary: &'static str,
    /// What else is to be known.
    pub(crate) description: &'static str,
    pub(crate) access: Access,
    /// A structure whose fields are the parameters of the query.
    pub(crate) query: Option<SchemaOf>,
    /// Parameters in headers: name and sentence.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Option<Body>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) route: MethodRouter<Arc<App>>,
}

/// What is sent.
pub(crate) struct Body {
    pub(crate) kind: &'static str,
    pub(crate) schema: SchemaOf,
    pub(crate) is_required: bool,
}

/// What is told, beside problems.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) says: &'static str,
    pub(crate) content: Option<(&'static str, SchemaOf)>,
}

/// An operation that looks.
pub(crate) fn get<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, handler: H) -> Operation {
    Operation::new(Method::GET, path, routing::get(handler), Scope::Read)
}

/// An operation that begins something.
pub(crate) fn post<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, handler: H) -> Operation {
    Operation::new(Method::POST, path, routing::post(handler), Scope::Operate)
}

/// An operation that may be repeated.
pub(crate) fn put<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, handler: H) -> Operation {
    Operation::new(Method::PUT, path, routing::put(handler), Scope::Operate)
}

/// An operation that takes something away.
pub(crate) fn delete<H: Handler<T, Arc<App>>, T: 'static>(path: &'static str, handler: H) -> Operation {
    Operation::new(Method::DELETE, path, routing::delete(handler), Scope::Operate)
}

impl Operation {
    fn new(method: Method, path: &'static str, route: MethodRouter<Arc<App>>, scope: Scope) -> Self {
        Self {
            method,
            path,
            id: "",
            summary: "",
            description: "",
            access: Access::Scope(scope),
            query: None,
            headers: Vec::new(),
            body: None,
            replies: Vec::new(),
            route,
        }
    }

    /// Its name and its sentence.
    pub(crate) fn is(self, id: &'static str, summary: &'static str) -> Self {
        Self { id, summary, ..self }
    }

    /// What else is to be known.
    pub(crate) fn note(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// Who may use it, if not whom its method suggests.
    pub(crate) fn needs(self, scope: Scope) -> Self {
        Self { access: Access::Scope(scope), ..self }
    }

    pub(crate) fn open(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The fields of `Q` are the parameters of its query.
    pub(crate) fn query<Q: JsonSchema>(self) -> Self {
        Self { query: Some(|generator| generator.subschema_for::<Q>()), ..self }
    }

    /// A header that it obeys.
    pub(crate) fn header(mut self, name: &'static str, says: &'static str) -> Self {
        self.headers.push((name, says));
        self
    }

    /// What must be sent.
    pub(crate) fn takes<B: JsonSchema>(self) -> Self {
        self.body("application/json", |generator| generator.subschema_for::<B>(), true)
    }

    /// What may be sent.
    pub(crate) fn may_take<B: JsonSchema>(self) -> Self {
        self.body("application/json", |generator| generator.subschema_for::<B>(), false)
    }

    /// That bytes are sent, perhaps none.
    pub(crate) fn takes_bytes(self) -> Self {
        let bytes: SchemaOf = |_| json_schema!({"type": "string", "format": "binary"});
        self.body("application/octet-stream", bytes, false)
    }

    fn body(self, kind: &'static str, schema: SchemaOf, is_required: bool) -> Self {
        Self { body: Some(Body { kind, schema, is_required }), ..self }
    }

    /// What it tells as JSON.
    pub(crate) fn gives<R: JsonSchema>(self, status: u16, says: &'static str) -> Self {
        self.gives_as::<R>(status, says, "application/json")
    }

    /// What it tells as another kind of content.
    pub(crate) fn gives_as<R: JsonSchema>(mut self, status: u16, says: &'static str, kind: &'static str) -> Self {
        let content: (_, SchemaOf) = (kind, |generator| generator.subschema_for::<R>());
        self.replies.push(Reply { status, says, content: Some(content) });
        self
    }

    /// That it is done, without content.
    pub(crate) fn gives_nothing(mut self, status: u16, says: &'static str) -> Self {
        self.replies.push(Reply { status, says, content: None });
        self
    }
}

/// The router of all operations, each behind the check of who may use it.
pub(crate) fn router(operations: Vec<Operation>, app: &Arc<App>) -> Router<Arc<App>> {
    operations.into_iter().fold(Router::new(), |router, operation| {
        let guard = middleware::from_fn_with_state((Arc::clone(app), operation.access), auth::check);
        router.route(operation.path, operation.route.layer(guard))
    })
}
