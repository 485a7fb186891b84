"""What `k8s/e2e` is made of: a cluster that is asked by kubectl, a store inside it, the chart, and parts that show what they promise."""
