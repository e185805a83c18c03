import { preparePickers } from './pickers.ts'

RED.nodes.registerType('sluice-twin-set', {
  category: 'Sluice',
  color: '#7fc8c2',
  icon: 'font-awesome/fa-pencil',
  align: 'right',
  defaults: {
    name: { value: '' },
    gateway: { value: '', type: 'sluice-gateway', required: true },
    device: { value: '' },
    property: { value: '' },
    wait: { value: '30s', validate: (value) => value === '' || /^\d+(\.\d+)?(ms|s|m)$/.test(String(value)) },
  },
  inputs: 1,
  outputs: 3,
  paletteLabel: 'twin set',
  label() {
    const parts = [this['device'], this['property']].filter((part) => typeof part === 'string' && part !== '')
    return this.name || parts.join('/').replace(/^default\//, '') || 'twin set'
  },
  labelStyle() {
    return this.name ? 'node_label_italic' : ''
  },
  outputLabels(index) {
    return this._(['status.applied', 'status.rejected', 'status.timedOut'][index] ?? '')
  },
  oneditprepare() {
    preparePickers(this, { device: true, property: 'writable', anyKey: 'picker.fromMessage' })
  },
})
