/**
 * What must not be shown: a person writes `appKey: 2B7E...` into a file, and the finding about it goes to a terminal, a CI
 * log, a ticket.
 */

/** Fields whose value is a secret: `appKey`, `bindKey`, `password`. Not `keyFile`, which only says where it is. */
export const isSecretField = (field: string | number | undefined): boolean =>
  typeof field === 'string' && /(?:[a-z]Key|password|secret|token)$/i.test(field)

const SECRET_VALUE =
  /((?:\w*[a-z]Key|\w*password|\w*secret|\w*token)["']?\s*[:=]\s*["']?)([^\s"',}#]+(?:[ :-][0-9A-Fa-f]{2}\b)*)/gi
/** 16 bytes and more in hexadecimal are a key, whatever they are called. */
const LONG_HEX = /\b[0-9A-Fa-f]{2}(?:[-: ]?[0-9A-Fa-f]{2}){15,}\b/g

const stars = (text: string): string => '*'.repeat(text.length)

/** A line with its secrets masked, exactly as long as before. */
export const withoutSecrets = (line: string): string =>
  line
    .replace(SECRET_VALUE, (_, before: string, value: string) => `${before}${stars(value)}`)
    .replace(LONG_HEX, (hex) => stars(hex))
