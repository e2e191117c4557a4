//! GET is for queries. A mutation in a URL would be repeated by caches, prefetches and links.

use std::sync::Arc;

use async_graphql::{
    ErrorExtensionValues, ServerError, ServerResult, Variables,
    async_trait::async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery},
    parser::types::{ExecutableDocument, OperationType},
};

/// The extension. As data of a request, it refuses documents with a mutation or a subscription.
///
/// The document is read here and not in the handler, since a persisted query has none in its URL.
#[derive(Clone, Copy)]
pub struct QueriesOnly;

/// The code of the refusal.
pub const CODE: &str = "METHOD_NOT_ALLOWED";

impl ExtensionFactory for QueriesOnly {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(*self)
    }
}

#[async_trait]
impl Extension for QueriesOnly {
    async fn parse_query(
        &self,
        context: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(context, query, variables).await?;
        let is_query = |of: OperationType| of == OperationType::Query;
        let mut operations = document.operations.iter();
        if context.data_opt::<Self>().is_none() || operations.all(|(_, of)| is_query(of.node.ty)) {
            return Ok(document);
        }
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", CODE);
        let mut error = ServerError::new("GET is for queries, use POST", None);
        error.extensions = Some(extensions);
        Err(error)
    }
}
