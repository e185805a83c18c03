import type { EditedNode } from './red.ts'

const rows: Readonly<Record<string, readonly string[]>> = {
  agent: ['socket'],
  port: ['url', 'token'],
  cloud: ['url', 'token', 'ca'],
}

RED.nodes.registerType('sluice-gateway', {
  category: 'config',
  defaults: {
    name: { value: '' },
    target: { value: 'agent' },
    socket: { value: '' },
    url: {
      value: '',
      validate(this: EditedNode, value: unknown) {
        const target = this['target'] ?? 'agent'
        return target === 'agent' || (typeof value === 'string' && /^https?:\/\/[^\s/]+/.test(value))
      },
    },
    ca: { value: '' },
  },
  credentials: { token: { type: 'password' } },
  label() {
    if (this.name) return this.name
    return this['target'] === 'agent' ? this._('sluice-gateway.thisGateway') : String(this['url'] ?? '')
  },
  oneditprepare() {
    const target = document.getElementById('node-config-input-target')
    if (!(target instanceof HTMLSelectElement)) return
    const show = () => {
      const wanted = rows[target.value] ?? []
      for (const row of ['socket', 'url', 'token', 'ca']) {
        const element = document.getElementById(`sluice-row-${row}`)
        if (element !== null) element.style.display = wanted.includes(row) ? '' : 'none'
      }
    }
    if (target.value === '') target.value = 'agent'
    target.addEventListener('change', show)
    show()
  },
})
