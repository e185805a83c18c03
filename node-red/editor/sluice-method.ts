import { preparePickers } from './pickers.ts'

RED.nodes.registerType('sluice-method', {
  category: 'Sluice',
  color: '#7fc8c2',
  icon: 'font-awesome/fa-cogs',
  align: 'right',
  defaults: {
    name: { value: '' },
    gateway: { value: '', type: 'sluice-gateway', required: true },
    device: { value: '' },
    method: { value: '', required: true },
    wait: { value: '30s', validate: (value) => value === '' || /^\d+(\.\d+)?(ms|s|m)$/.test(String(value)) },
  },
  inputs: 1,
  outputs: 3,
  paletteLabel: 'method',
  label() {
    return this.name || String(this['method'] || 'method')
  },
  labelStyle() {
    return this.name ? 'node_label_italic' : ''
  },
  outputLabels(index) {
    return this._(['status.applied', 'status.rejected', 'status.timedOut'][index] ?? '')
  },
  oneditprepare() {
    preparePickers(this, { device: true, method: true, anyKey: 'picker.fromMessage' })
  },
})
