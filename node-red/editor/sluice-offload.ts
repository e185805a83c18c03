import { preparePickers } from './pickers.ts'

RED.nodes.registerType('sluice-offload', {
  category: 'Sluice',
  color: '#9fc5e8',
  icon: 'font-awesome/fa-share-square-o',
  align: 'right',
  defaults: {
    name: { value: '' },
    gateway: { value: '', type: 'sluice-gateway', required: true },
    pod: { value: '' },
    of: { value: '' },
  },
  inputs: 1,
  outputs: 2,
  paletteLabel: 'offload',
  label() {
    return this.name || String(this['pod'] || 'offload').replace(/^default\//, '')
  },
  labelStyle() {
    return this.name ? 'node_label_italic' : ''
  },
  outputLabels(index) {
    return this._(['status.moves', 'status.rejected'][index] ?? '')
  },
  oneditprepare() {
    preparePickers(this, { pod: true, of: true, anyKey: 'picker.fromMessage' })
  },
})
