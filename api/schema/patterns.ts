/** Patterns that schemas and messages share; here, so that writing a message does not load the schema library. */

export const PROPERTY_NAME_PATTERN = '^[a-zA-Z][a-zA-Z0-9_-]{0,62}$'

export const DURATION_PATTERN = '^[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)$'

/** RFC 1123 label and subdomain, as Kubernetes wants names of namespaces and objects. */
export const LABEL_PATTERN = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'
export const NAME_PATTERN = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'
