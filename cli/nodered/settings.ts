/**
 * Settings of a Node-RED that stands beside an agent: on the loopback address alone, signed in with the agent's own
 * token, which is read at every sign-in, so that a new token counts at once. What a user changes in the file stays.
 */
export const SETTINGS = `// Written once by 'sluice nodered'; yours to change. Everything Node-RED knows: https://nodered.org/docs/user-guide/runtime/configuration
const { createHash, timingSafeEqual } = require('node:crypto')
const { readFileSync } = require('node:fs')
const { join } = require('node:path')

const secret = (name) => readFileSync(join(__dirname, name), 'utf8').trim()
const digest = (text) => createHash('sha256').update(text).digest()
const admin = { username: 'admin', permissions: '*' }

module.exports = {
  uiHost: process.env.SLUICE_NODERED_HOST || '127.0.0.1',
  uiPort: Number(process.env.SLUICE_NODERED_PORT || 1880),
  flowFile: 'flows.json',
  credentialSecret: secret('credential.key'),
  // Name 'admin', and as password what is in local-api.token beside the agent's data.
  adminAuth: {
    type: 'credentials',
    users: async (name) => (name === 'admin' ? admin : null),
    authenticate: async (name, password) => {
      const token = readFileSync(process.env.SLUICE_TOKEN_FILE, 'utf8').trim()
      return name === 'admin' && timingSafeEqual(digest(String(password)), digest(token)) ? admin : null
    },
  },
  telemetry: { enabled: false, updateNotification: false },
  editorTheme: { tours: false, header: { title: 'Sluice' } },
}
`

/** The flow of a first start: the gateway is there, so that the first node only has to pick a device. */
export const FIRST_FLOW = [
  { id: 'flow-1', type: 'tab', label: 'Flow 1', disabled: false, info: '' },
  { id: 'sluice-here', type: 'sluice-gateway', name: '', target: 'agent', socket: '', url: '', ca: '' },
] as const
