import { preparePickers } from './pickers.ts'

RED.nodes.registerType('sluice-twin-get', {
  category: 'Sluice',
  color: '#7fc8c2',
  icon: 'font-awesome/fa-search',
  defaults: {
    name: { value: '' },
    gateway: { value: '', type: 'sluice-gateway', required: true },
    device: { value: '' },
    property: { value: '' },
  },
  inputs: 1,
  outputs: 1,
  paletteLabel: 'twin get',
  label() {
    const parts = [this['device'], this['property']].filter((part) => typeof part === 'string' && part !== '')
    return this.name || parts.join('/').replace(/^default\//, '') || 'twin get'
  },
  labelStyle() {
    return this.name ? 'node_label_italic' : ''
  },
  oneditprepare() {
    preparePickers(this, { device: true, property: 'any', anyKey: 'picker.fromMessage' })
  },
})
